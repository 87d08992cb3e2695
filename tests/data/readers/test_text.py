from hf_adner.data.formats import detect_format, read_documents


def test_a_file_is_a_document(tmp_path):
    path = tmp_path / "note.txt"
    path.write_bytes("第一行\r\n第二行\n".encode())
    assert detect_format(path) == "text"
    (document,) = read_documents(path)
    assert (document.id, document.text, document.entities) == ("note", "第一行\r\n第二行\n", ())


def test_a_line_is_a_document(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("第一行\n\n第三行", encoding="utf-8")
    assert [(one.id, one.text) for one in read_documents(path, "lines")] == [
        ("notes-1", "第一行"),
        ("notes-3", "第三行"),
    ]
