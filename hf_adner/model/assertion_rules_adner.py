"""The standard rules of assertion: cues of Chinese clinical text, their direction and reach.

Columns, with tabs between them, are those of `assertion_table_adner.Rule`: attributes, cues (with spaces between them; {a|b}
is either), direction, reach. The order says nothing; of cues that match the same characters the longest counts.
"""

# ruff: noqa: E501

TABLE = r"""
# ---- expressions that look like cues and are none
none	{无明确|无特殊|无明|不明|不明确}{诱因|原因|缘由}
none	{无|没有|未见|不}{明显|显著|任何|有效|进一步|}{诱因|原因|缘由|先兆|缓解|好转|改善|减轻|减少|加重|变化|增大|扩大|消退|消失|效果|疗效|痊愈}
none	无痛性 无菌性 无症状性 无症状 无色 无故 无力 无规律 无殊 余无 无异常 无法 无效 有无 无论
none	/无特殊(?=[,。;)\s]|$)/ /无痛(?=胃镜|肠镜|分娩|人流|肿|结节|包块|血尿|肉眼)/ /无意(?!识)中?间?/ 无名指 无数 无创 无菌 无机 无水
none	无张力 无功能 无回声 无血运 无影灯 无牙 无极 无比 无非 无奈 无助 无关 无妨 无限 无穷 无纺布 无接触 无偿
none	不愈 未愈 不明 不佳 不良 不断 不规则 不规律 不等 不全 不清 不平 不退 不止 不适 不稳 不均 不但
none	不仅 不同 不过 不耐受 不能耐受 不能忍受 未缓解 未消退 未消失 未减轻 未好转 未脱落
none	{可|会|能}自行{消退|缓解|消失|痊愈} {部分|逐渐|较前|稍|略|有所}{消退|消失|缓解}
none	消退不明显 症状消失 已停药 弱阳性 阳性 (+) 除外伤 /除[^,。;!?外]{1,12}外(?!伤)/
none	/(?:如何|怎么|怎样|怎么办|什么|哪些|哪个|哪种|为何|多久|多少|能不能|能否|可否|可不可以|好不好|吃啥|用啥|有何)[^。;?]*\?/
none	出现 发现 表现 呈现 显现 附近 如常 如下 如上 如前 例如 比如 诸如 犹如 自如 正如 如厕 如何 如今
none	/如[^,。;如]{1,6}(?:样|状|般|一样|大小)/ /如(?:绞|刺)(?!痛)/ 如{裂|割|折|劈|锥|期|实|愿|约|数|丝|珠}
none	{恍|宛|仿|判|呆}若 适宜 便宜 事宜 时宜 计划{生育|免疫|内} 可以{忍受|耐受|平卧|行走|进食|自理} 尽可能
none	医嘱 遵嘱 嘱托 疑难 疑问 疑虑 未{予|加|}注意 未引起注意 {晕|昏|厥|走|睡|撞|死|背}过去
none	/(?:无|未见|没有|排除|除外)[^,。;]{0,8}禁忌[证症]?后?/ 高危{妊娠|儿|人群|型}
none	排除{困难|障碍|不畅} /缺乏(?:症|性|引起|导致|致|所致)/ /(?<=[a-z0-9素铁锌钙酶碘铜镁])缺乏/
none	革兰{氏|氏染色|染色|}阴性 三阴性 假阴性 血清阴性 阴性{菌|杆菌|球菌|对照|症状}
none	若干 拟态 注意力 预防性 预防接种 勿念 可行走 忌骤停
none	{切勿|勿|不要|不可|不能|避免}{自行|突然|骤然|随意|擅自|}{停用|停服|停药|减量|骤停}
none	/(?:父母|母亲|父亲|家长|家属|家人|奶奶|爷爷|外婆|外公|姥姥|姥爷|祖母|祖父|妈妈|爸爸|丈夫|妻子|爱人|女儿|儿子|哥哥|姐姐|弟弟|妹妹|姊姊|老公|老婆|太太|男友|女友|男朋友|女朋友|公公|婆婆|岳父|岳母|儿媳|媳妇|女婿|孙子|孙女|外孙|外孙女|爸妈|阿公|阿嬷|同事|同学|室友|邻居|其[父母子女夫妻兄弟姐妹])[^,。;]{0,4}(?:诉|述|带|要求|商议|担心|陪|说|称|不同意|同意|拒绝|发现|送|搀扶|协助|告知|提供|目击|呼叫)/
none	/[与和跟同被由经](?:其)?(?:父母|母亲|父亲|家长|家属|家人|奶奶|爷爷|外婆|外公|姥姥|姥爷|祖母|祖父|妈妈|爸爸|丈夫|妻子|爱人|女儿|儿子|哥哥|姐姐|弟弟|妹妹|姊姊|老公|老婆|太太|男友|女友|男朋友|女朋友|公公|婆婆|岳父|岳母|儿媳|媳妇|女婿|孙子|孙女|外孙|外孙女|爸妈|阿公|阿嬷|同事|同学|室友|邻居|其[父母子女夫妻兄弟姐妹])[^,。;]{0,4}(?:外出|打闹|争吵|争执|吵架|玩|嬉|同住|生活|一起|踢|打|撞|推|抓|咬|送|搀扶|沟通)/
none	{在|于|回|返|至}{家|家中|家里} 家中{自服|自行|自用|口服|服用|外用|用药|突发|突然|发生|出现|跌倒|摔倒|晕倒|休息|测|自测|监测|饲养|养}
none	{其|大|小|长}子{宫|痫|囊} 其女性 小女孩 双胞胎{之|妊娠}
none	{家长|家属|父母|母亲}否认
none	{我|我家|俺}{的|}{女儿|儿子|母亲|父亲|妈妈|爸爸|老公|老婆|妻子|丈夫|爷爷|奶奶|弟弟|妹妹|哥哥|姐姐|妈|爸|女友|男友|爱人}
none	母亲孕期 孕母 现病史 接触史 过敏史 月经史 婚育史 个人史 疫苗史 无疑 鉴别诊断 无特效
none	该病例 /如(?!有|出现|发|再|果|遇|伴|需)(?=[^,。;?]{1,40}等(?:[,。;]|症|情))/
none	如{同|似|火|针|刀|蚁|米|粟|豆|绿豆|黄豆|鸡|手掌|核桃|指甲|钱币|鱼鳞|牛皮|地图|蛋|拳} 减停
none	/未(?:见|发现|触及|扪及|闻及|查见|检出)(?:明显|确切|显著|特殊)?异常/
none	类似 相似 近似 家族性 不容怀疑 既往体健 平素体健 原因待查 曾祖
none	{立即|应|须|需|即}停药 遗传倾向
# ---- titles of sections
header	/(?:主诉|现病史|既往史|过去史|既往病史|个人史|婚育史|月经史|家族史|药物过敏史|过敏史|输血史|传染病史|预防接种史|系统回顾|手术史|外伤史|查体|体格检查|体检|体征|专科检查|专科情况|皮肤科情况|皮肤科检查|眼科检查|辅助检查|实验室检查|初步诊断|入院诊断|出院诊断|临床诊断|鉴别诊断|诊断|拟诊|印象|诊疗经过|治疗经过|处理|治疗|医嘱|出院医嘱|出院带药|用药|诊断依据|处置|诊疗计划|入院情况|出院情况|随访|护理|宣教|注意事项):/
header	/[【\[](?:主诉|现病史|既往史|过去史|既往病史|个人史|婚育史|月经史|家族史|药物过敏史|过敏史|输血史|传染病史|预防接种史|系统回顾|手术史|外伤史|查体|体格检查|体检|体征|专科检查|专科情况|皮肤科情况|皮肤科检查|眼科检查|辅助检查|实验室检查|初步诊断|入院诊断|出院诊断|临床诊断|鉴别诊断|诊断|拟诊|印象|诊疗经过|治疗经过|处理|治疗|医嘱|出院医嘱|出院带药|用药|诊断依据|处置|诊疗计划|入院情况|出院情况|随访|护理|宣教|注意事项)[\]】]/
header	/(?<![^\n\r])[^\S\n]*(?:主诉|现病史|既往史|过去史|既往病史|个人史|婚育史|月经史|家族史|药物过敏史|过敏史|输血史|传染病史|预防接种史|系统回顾|手术史|外伤史|查体|体格检查|体检|体征|专科检查|专科情况|皮肤科情况|皮肤科检查|眼科检查|辅助检查|实验室检查|初步诊断|入院诊断|出院诊断|临床诊断|鉴别诊断|诊断|拟诊|印象|诊疗经过|治疗经过|处理|治疗|医嘱|出院医嘱|出院带药|用药|诊断依据|处置|诊疗计划|入院情况|出院情况|随访|护理|宣教|注意事项)[^\S\n]*(?=[\n\r])/
historical	/(?:既往史|过去史|既往病史|手术史|外伤史)(?=:)/ /(?<=[【\[])(?:既往史|过去史|既往病史|手术史|外伤史)(?=[\]】])/ /(?<![^\n\r])(?:既往史|过去史|既往病史|手术史|外伤史)(?=[^\S\n]*[\n\r])/	forward	section
historical	既往史 过去史	forward	sentence
family	/家族史(?=:)/ /(?<=[【\[])家族史(?=[\]】])/ /(?<![^\n\r])家族史(?=[^\S\n]*[\n\r])/	forward	section
family	家族史	backward	list
hypothetical	/(?:宣教|注意事项|健康指导|健康教育|出院指导)(?=:)/ /(?<=[【\[])(?:宣教|注意事项|健康指导|健康教育|出院指导)(?=[\]】])/ /(?<![^\n\r])(?:宣教|注意事项|健康指导|健康教育|出院指导)(?=[^\S\n]*[\n\r])/	forward	section
uncertain	/(?:鉴别诊断|拟诊)(?=:)/ /(?<=[【\[])(?:鉴别诊断|拟诊)(?=[\]】])/ /(?<![^\n\r])(?:鉴别诊断|拟诊)(?=[^\S\n]*[\n\r])/	forward	section
# ---- where the reach of cues ends
stop	但 却 仍	all
stop	而	negated,uncertain,family
stop	伴 可见 见 考虑 提示 遗留	negated,historical
stop	有 余 出现 改 诊断为 后诊断 要求 阳性 (+)	negated
stop	予	negated,uncertain,historical
stop	收入	uncertain
stop	患者	family,hypothetical,present
stop	患儿 病人 本人 自己	family
stop	现 今 本次 此次 近 故 因此 入院 再次 长期 规律	historical
stop	父亲 母亲 父母 祖父 祖母 爷爷 奶奶 外公 外婆 哥哥 姐姐 弟弟 妹妹 其{父|母|兄|姐|弟|妹|子|女}	historical
stop	目前	historical,hypothetical
# ---- negated
negated	无 无伴 没有 没见 没发 从未 从无 未闻	forward	list
negated	未诉 未述 未再 未伴 未提示 未显示 未累及 未形成 未有 未行 未予 未给予 未用	forward	list
negated	未用过 未使用 未服 未服用 未口服 未外用 未接受 未接种 未规律 未曾 未患 否认 不伴	forward	list
negated	不伴有 不存在 不符合 不像 不似 不予 不需 不需要 无需 无须 不留 缺乏 拒绝 排除	forward	list
negated	{未|没有|未再}{留|留下|遗留}	forward	list
negated	停用 停服 停止 停止使用 暂停 撤除	forward	list
negated	均无 未见 均未见 未及 未触及 未扪及 未闻及 未检出 未引出 未探及 未查及 未见到 未发现 未查见 未检见 未{再|}出现 未{再|}发生 不考虑 不支持	either	list
negated	/(?:已|已经|基本)(?:排除|除外)(?=[^,。;]{2})/	either	list
negated	{无|不}{需|须}{立即|及时|考虑|使用|加用|行|予|给予|注意|口服|外用|做} 不可能{是|为|} 不曾 不再{有|}	forward	list
negated	不{使用|采用|应用|服用|口服|选用|加用|给予|接受|同意|愿|愿意}{行|做|}	forward	list
negated	没 未 不是 并非 非 不用 不行 不 停	forward	adjacent
negated	均予否认 均否认	backward	sentence
negated	不明显 不显 缺如 {可|已|已经|均可|基本|可以}{排除|除外} 阴性 (-) (—) (–)	backward	list
negated	(−)	backward	list
negated	均阴性 /均\([-—–−]\)/	backward	clause
negated	/\s?[-—–−](?=[,。;、)]|\s(?!\s*[0-9])|$)/	backward	adjacent
negated	/\(\s[-—–−]\s?\)/ /\([-—–−]\s\)/ /[:亦也均都皆](?:无|没有|否)(?=[,。;)\s]|$)/ /:(?:未见|否认|阴性)(?=[,。;)\s]|$)/	backward	list
negated	/(?:无|没有)(?=[,。;)\s]|$)/	backward	adjacent
negated	/未(?:做|查|行|用|服)(?=[,。;)\s]|$)/	backward	list
historical	/(?<![议可应需须嘱])(?<![嘱议]患[者儿])(?<![嘱议]病人)(?<![嘱议]其)停(?:用|服)[^,。;]{1,12}?(?<!停药)后(?!续|来)/	inside
negated,historical	/(?:否认|从无|从未有|无|未有|没有)(?:(?!家族|家中)[^,。;]){1,30}?(?<!个人)史/	inside
negated,historical	/(?:出生时|新生儿期|幼时|幼年|既往|以往|从)(?:均)?(?:无|没有|未)(?!明显诱因)[^,。;]{0,20}/	inside
family	/家族[^,。;]{0,10}史/	inside
# ---- uncertain
uncertain	/(?:吗|呢|么|待查)?\?/ 待{排|诊|定|确诊|证实|明确} 可疑阳性	backward	list
uncertain	依据不足 证据不足 不详 史不详 尚不明确 鉴别 ± (±) (+-) (+/-)	backward	list
uncertain	可能 可能性 可能性大	either	list
uncertain	{尚|仍|亦|也|还|暂|}{不|未|未能|不能|无法|难以}{完全|}{排除|除外}	either	list
uncertain	{以|为|为了|以便|协助|帮助|需|须|应|待|尚需|进一步|需进一步}{排除|除外|鉴别} 疑似 可疑	either	list
uncertain	不能确定	either	list
uncertain	/(?<![a-z])r\/o(?![a-z])/ /(?<![a-z])rule[\s-]out(?![a-z])/	forward	list
uncertain	可能为 可能是 可能系 疑 疑诊 怀疑 拟诊 拟诊为 似有 似为 似乎 貌似 好像 像是	forward	list
uncertain	大概 大概率 估计 也许 或许 倾向于 是否 是不是 会不会 有没有可能	forward	list
uncertain	似	forward	adjacent
uncertain	/(?:(?<=查)|(?<=检)|(?<=ct)|(?<=mri)|(?<=影)|(?<=超)),(?:排除|除外)(?![^,。;]{1,15}后)/	forward	list
uncertain	/(?:与|和|同|跟)[^,。;]{1,60}?(?:相|作|进行)?(?:鉴别|区别|区分)/	inside
# ---- family
family	父亲 其父 母亲 其母 父母 爸爸 妈妈 双亲 祖父 祖母 曾祖父 曾祖母 外祖父 外祖母	forward	clause
family	爷爷 奶奶 外公 外婆 姥姥 姥爷 哥哥 姐姐 弟弟 妹妹 兄弟 姐妹 姊妹 兄妹 姐弟 兄姐	forward	clause
family	胞兄 胞弟 胞姐 胞妹 {其|之|堂|表|长|大|二|三|小|幼}{兄|姐|哥|弟|妹|姊|子|女} 患{者|儿}之{父|母|祖父|祖母|夫|妻} 同胞 双胞胎 孪生	forward	clause
family	姊姊 兄长 阿公 阿嬷 阿爸 阿妈 爹娘 爸妈 公公 婆婆 岳父 岳母 继父 继母 养父 养母 孙子 孙女 外孙 外孙女 独子 独女	forward	clause
family	嫂子 嫂嫂 姐夫 妹夫 弟媳 弟妹 儿媳 媳妇 女婿 老公 老婆 太太 男友 女友 男朋友 女朋友 其{妻|夫}	forward	clause
family	叔父 叔公 伯母 婶婶 婶母 姑妈 姑父 姑丈 舅妈 舅母 舅公 姨父 姨丈 小姨 侄儿	forward	clause
family	叔叔 伯父 伯伯 姑姑 姑母 舅舅 舅父 姨妈 姨母 阿姨 侄子 侄女 外甥 子女 儿子 女儿	forward	clause
family	次子 次女 丈夫 妻子 爱人 配偶 性伴 家人 家族 家族中 家系 家中 家里	forward	clause
family	亲属 亲戚 母系 父系 室友 舍友 同学 同事 同桌 邻居 同住者 接触者	forward	clause
family	/健在,(?=患|有)/	forward	clause
family	父	forward	adjacent
family	/(?<![^,。;:、\s])[父母兄姐姊弟妹爸妈](?=(?:亦|也|均|都|曾|既往)?[有患])/	forward	clause
family	/我(?:家)?(?:的)?(?:父母|母亲|父亲|妈妈?|爸爸?|哥哥|姐姐|弟弟|妹妹|爷爷|奶奶|女儿|儿子)(?:以前|曾经?|小时候|年轻时)?也/	forward	clause
family	/接触过?[^,。;]{1,12}(?:患者|病人|患儿|病例)(?!接触)/	inside
family	家族史阳性	backward	list
family,negated	家族史阴性	backward	list
# ---- historical
historical	曾 曾经 过去 以前 从前 此前 去年 前年 上次 上月 幼时 幼年 儿时 儿童期 早年 往年	forward	clause
historical	婴儿期 童年 小时候 年轻时 孕期 怀孕期间 入院前予	forward	clause
historical	外院{先后|间断|曾|}{予|给予|用}	forward	clause
historical	曾{经|}{予|予以|给予} {此前|之前|以前}{予|给予|曾} /(?<![^,。;:\s者我他她])之前/ /当时(?:诊断|考虑|予|给予|使用|查)[为是]?/	forward	clause
historical	/(?:19|20)[0-9]{2}[年.\/-](?:[0-9]{1,2}[月.\/-]?)?(?:[0-9]{1,2}日?)?(?:曾|因|行|患|被|接受)/ /[0-9一二三四五六七八九十]岁时?(?:曾|因|行|患|得)/	forward	clause
historical	{年|月|周|天|日}前{曾|患|因|行|被|接受|做|有|得|患有|罹患}	forward	clause
historical	既往 以往	forward	sentence
historical	{用|服|得|患|做|有|打|吃|涂|抹}过 死于 已无	forward	list
historical	去世 病故 后停药 停药	backward	clause
historical	病史 /术后(?:[0-9一二三四五六七八九十数半两]+[余多]?)[年月周]/	backward	list
historical	/(?:现|均|并|今)?(?:已|已经|完全|自行|全部|基本)+(?:治愈|痊愈|自愈|消退|消失|缓解|停止|愈合|恢复正常|好)/	backward	list
historical	治愈 痊愈 自愈 已愈 已止 已退 已拔除 已拆除 已切除 已不明显 消失 消退 后缓解	backward	list
historical	史	backward	adjacent
historical	/经[^,。;]{1,15}(?:后|治疗)?(?:痊愈|治愈|自愈|消退)/	inside
# ---- going on: takes historical away
present	至今 时轻时重 反复发作 反复不愈 迁延	backward	sentence
present	控制{良好|尚可|可|不佳|稳定|欠佳|一般|满意|理想}	backward	sentence
present	{长期|规律|一直|持续|坚持|定期}{口服|服用|服药|服|吸入|注射|使用|应用|用药|用|外用|滴用|治疗|透析}	both	sentence
present	/(?:加重|再发|复发)[0-9一二三四五六七八九十数半两]+[余多]?[天日周月年]/	backward	sentence
# ---- hypothetical
hypothetical	{不良反应|副作用}{包括|有|为|主要}	forward	sentence
hypothetical	如 若 假如 如果 倘若 一旦 万一 必要时 酌情 视情况 建议 推荐 嘱	forward	sentence
hypothetical	{建议|应|需|须|可|考虑|必要时|宜|嘱}{立即|暂时|逐渐|尽快|尽早|先|}{停用|停服|暂停|停止使用|停止|停}	forward	sentence
hypothetical	不建议 不推荐 这种病 这种疾病 此病 本品 该药 该病 本病	forward	sentence
hypothetical	禁忌证	forward	sentence
hypothetical	{嘱|嘱咐|建议|告知|交代}{患者|患儿|病人|其|家属}	forward	sentence
hypothetical	{嘱|嘱咐|建议|告知|交代}{患者|患儿|病人|其}{立即|暂时|逐渐|尽快|自行|}{停用|停服|暂停|停止使用|停止}	forward	sentence
hypothetical	/时(?=,?(?:可(?![见触闻及扪查有])|应|需|须|宜|请))/	backward	clause
hypothetical	备用	either	clause
hypothetical	按需 宜 应避免 需避免	forward	clause
hypothetical	{应|需|须|应当|需要}{立即|及时|尽快|尽早|考虑|使用|加用|行|予|给予|注意|警惕|口服|外用|做}	forward	clause
hypothetical	避免 勿 忌 忌食 禁食 禁饮 禁服 禁止 严禁 切忌 禁用 慎用 不要 不宜 不可 不应 少吃 少食 少饮 少用 多吃	forward	clause
hypothetical	远离 防止 以防 谨防 警惕 以免 注意 /(?<![模虚比])拟(?!诊|似|态|除|菊|杆|人|合|交感|胆碱|肾上腺)/ 计划 择期	forward	clause
hypothetical	择日 准备 预约 定于 试用 可以	forward	clause
hypothetical	可{予|用|给予|给|考虑|加用|配合|选用|选择|外用|外涂|口服|内服|服用|服|吸入|行|使用|再次使用|试用|适当|以用|联合|改用|酌情|静滴|肌注|短期}	forward	clause
hypothetical	{可能会|可能|可|易|将}{出现|引起|引发|导致|发生|并发|诱发|致|加重|伴有|伴|合并|表现为|产生}	forward	clause
hypothetical	/待[^,。;]{1,12}(?:后|再|时)/ 适用于 适应证	forward	clause
hypothetical	{下周|下月|明日|明天|明晨|后天|明早|下次|下周期|近期内|近期}{拟|行|予|计划|在|复查|查|做|手术|完善|接受|开始|加用|停用}	forward	clause
hypothetical	禁 慎 戒	forward	adjacent
hypothetical	预防	forward	list
hypothetical	是一种 /(?:症状|表现|体征|方案|方法|措施)(?:主要|通常|一般|常见)*包括/	both	sentence
hypothetical	好发于 多见于 常见于 潜伏期 是由 是指	both	sentence
hypothetical	/(?<![级期度组,(\s极很])高危/ {的|}风险	backward	list
"""
