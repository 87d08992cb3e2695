"""Documents, file formats, splits, statistics, and the encoding of documents as model inputs."""
