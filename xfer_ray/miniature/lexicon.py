# ruff: noqa: E501  a table is read across
"""The words of the miniature world in seven languages, as a dictionary prints them: one word a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LANGUAGES = ("en", "de", "es", "fr", "ru", "zh", "ja")
Forms = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Word:
    """A word: its kind, what it excludes (an antonym), and its forms by language."""

    kind: str
    opposite: str
    forms: Forms


def _table(text: str) -> dict[str, Word]:
    """Read lines `lemma kind[!opposite] en de es fr ru zh ja`; forms are joined by `/`, spaces within one by `_`."""
    words = {}
    for line in text.strip().splitlines():
        lemma, kind, *columns = line.split()
        kind, _, opposite = kind.partition("!")
        forms = (tuple(column.replace("_", " ").split("/")) for column in columns)
        words[lemma] = Word(kind, opposite, dict(zip(LANGUAGES, forms, strict=True)))
    return words


# en singular/plural · de gender/nominative/accusative/plural · es, fr gender/singular/plural
# ru gender/nominative/accusative/after 2-4/genitive plural · zh word/classifier · ja word/counter; a third form is the definite singular
NOUNS = _table("""
doctor     person     doctor/doctors         m/Arzt/Arzt/Ärzte                       m/médico/médicos           m/médecin/médecins       m/врач/врача/врача/врачей                      医生/位    医者/人
teacher    person     teacher/teachers       m/Lehrer/Lehrer/Lehrer                  m/profesor/profesores      m/professeur/professeurs m/учитель/учителя/учителя/учителей             老师/位    先生/人
farmer     person     farmer/farmers         m/Bauer/Bauern/Bauern                   m/granjero/granjeros       m/fermier/fermiers       m/фермер/фермера/фермера/фермеров              农民/位    農夫/人
queen      person     queen/queens           f/Königin/Königin/Königinnen            f/reina/reinas             f/reine/reines           f/королева/королеву/королевы/королев           女王/位    女王/人
student    person     student/students       m/Student/Studenten/Studenten           m/estudiante/estudiantes   m/étudiant/étudiants     m/студент/студента/студента/студентов          学生/位    学生/人
singer     person     singer/singers         f/Sängerin/Sängerin/Sängerinnen         f/cantante/cantantes       f/chanteuse/chanteuses   f/певица/певицу/певицы/певиц                   歌手/位    歌手/人
dog        animal     dog/dogs               m/Hund/Hund/Hunde                       m/perro/perros             m/chien/chiens           f/собака/собаку/собаки/собак                   狗/只      犬/匹
cat        animal     cat/cats               f/Katze/Katze/Katzen                    m/gato/gatos               m/chat/chats             f/кошка/кошку/кошки/кошек                      猫/只      猫/匹
horse      animal     horse/horses           n/Pferd/Pferd/Pferde                    m/caballo/caballos         m/cheval/chevaux         f/лошадь/лошадь/лошади/лошадей                 马/匹      馬/頭
bird       animal     bird/birds             m/Vogel/Vogel/Vögel                     m/pájaro/pájaros           m/oiseau/oiseaux         f/птица/птицу/птицы/птиц                       鸟/只      鳥/羽
apple      fruit      apple/apples           m/Apfel/Apfel/Äpfel                     f/manzana/manzanas         f/pomme/pommes           n/яблоко/яблоко/яблока/яблок                   苹果/个    りんご/個
pear       fruit      pear/pears             f/Birne/Birne/Birnen                    f/pera/peras               f/poire/poires           f/груша/грушу/груши/груш                       梨/个      梨/個
lemon      fruit      lemon/lemons           f/Zitrone/Zitrone/Zitronen              m/limón/limones            m/citron/citrons         m/лимон/лимон/лимона/лимонов                   柠檬/个    レモン/個
guitar     instrument guitar/guitars         f/Gitarre/Gitarre/Gitarren              f/guitarra/guitarras       f/guitare/guitares       f/гитара/гитару/гитары/гитар                   吉他/把    ギター/本
violin     instrument violin/violins         f/Geige/Geige/Geigen                    m/violín/violines          m/violon/violons         f/скрипка/скрипку/скрипки/скрипок              小提琴/把  バイオリン/本
flute      instrument flute/flutes           f/Flöte/Flöte/Flöten                    f/flauta/flautas           f/flûte/flûtes           f/флейта/флейту/флейты/флейт                   长笛/支    フルート/本
person     -          person/people          f/Person/Person/Personen                f/persona/personas         f/personne/personnes     m/человек/человека/человека/человек            人/个/那个人 人/人/その人
animal     -          animal/animals         n/Tier/Tier/Tiere                       m/animal/animales          m/animal/animaux         n/животное/животное/животных/животных          动物/只    動物/匹
fruit      -          fruit/fruits           f/Frucht/Frucht/Früchte                 f/fruta/frutas             m/fruit/fruits           m/фрукт/фрукт/фрукта/фруктов                   水果/个    果物/個
instrument -          instrument/instruments n/Instrument/Instrument/Instrumente     m/instrumento/instrumentos m/instrument/instruments m/инструмент/инструмент/инструмента/инструментов 乐器/件  楽器/個
""")

# en past/base · de participle/infinitive · es singular/plural/infinitive · fr participle/infinitive
# ru masculine/feminine/neuter/plural/infinitive · zh word · ja past/negative past/dictionary form
VERBS = _table("""
see       -          saw/see               gesehen/sehen         vio/vieron/ver                         vu/voir               увидел/увидела/увидело/увидели/увидеть                                看见   見た/見なかった/見る
chase     -          chased/chase          verfolgt/verfolgen    persiguió/persiguieron/perseguir       poursuivi/poursuivre  преследовал/преследовала/преследовало/преследовали/преследовать        追赶   追いかけた/追いかけなかった/追いかける
wash      -          washed/wash           gewaschen/waschen     lavó/lavaron/lavar                     lavé/laver            вымыл/вымыла/вымыло/вымыли/вымыть                                      清洗   洗った/洗わなかった/洗う
draw      -          drew/draw             gezeichnet/zeichnen   dibujó/dibujaron/dibujar               dessiné/dessiner      нарисовал/нарисовала/нарисовало/нарисовали/нарисовать                  画     描いた/描かなかった/描く
invite    -          invited/invite        eingeladen/einladen   invitó/invitaron/invitar               invité/inviter        пригласил/пригласила/пригласило/пригласили/пригласить                  邀请   招待した/招待しなかった/招待する
find      -!lose     found/find            gefunden/finden       encontró/encontraron/encontrar         trouvé/trouver        нашёл/нашла/нашло/нашли/найти                                          找到   見つけた/見つけなかった/見つける
lose      -!find     lost/lose             verloren/verlieren    perdió/perdieron/perder                perdu/perdre          потерял/потеряла/потеряло/потеряли/потерять                            弄丢   なくした/なくさなかった/なくす
buy       -!sell     bought/buy            gekauft/kaufen        compró/compraron/comprar               acheté/acheter        купил/купила/купило/купили/купить                                      买     買った/買わなかった/買う
sell      -!buy      sold/sell             verkauft/verkaufen    vendió/vendieron/vender                vendu/vendre          продал/продала/продало/продали/продать                                 卖     売った/売らなかった/売る
praise    -!criticize praised/praise       gelobt/loben          elogió/elogiaron/elogiar               félicité/féliciter    похвалил/похвалила/похвалило/похвалили/похвалить                       表扬   褒めた/褒めなかった/褒める
criticize -!praise   criticized/criticize  kritisiert/kritisieren criticó/criticaron/criticar           critiqué/critiquer    раскритиковал/раскритиковала/раскритиковало/раскритиковали/раскритиковать 批评 批判した/批判しなかった/批判する
""")

# en · de stem · es, fr masculine/feminine/plural masculine/plural feminine
# ru masculine/feminine/neuter/feminine accusative/genitive/plural/genitive plural · zh, ja before a noun
QUALITIES = _table("""
rich   person!poor     rich    reich    rico/rica/ricos/ricas             riche/riche/riches/riches         богатый/богатая/богатое/богатую/богатого/богатые/богатых 富有的   裕福な
poor   person!rich     poor    arm      pobre/pobre/pobres/pobres         pauvre/pauvre/pauvres/pauvres     бедный/бедная/бедное/бедную/бедного/бедные/бедных        贫穷的   貧しい
black  animal!white    black   schwarz  negro/negra/negros/negras         noir/noire/noirs/noires           чёрный/чёрная/чёрное/чёрную/чёрного/чёрные/чёрных        黑色的   黒い
white  animal!black    white   weiß     blanco/blanca/blancos/blancas     blanc/blanche/blancs/blanches     белый/белая/белое/белую/белого/белые/белых               白色的   白い
fresh  fruit!rotten    fresh   frisch   fresco/fresca/frescos/frescas     frais/fraîche/frais/fraîches      свежий/свежая/свежее/свежую/свежего/свежие/свежих        新鲜的   新鮮な
rotten fruit!fresh     rotten  faul     podrido/podrida/podridos/podridas pourri/pourrie/pourris/pourries   гнилой/гнилая/гнилое/гнилую/гнилого/гнилые/гнилых        腐烂的   腐った
new    instrument!used new     neu      nuevo/nueva/nuevos/nuevas         neuf/neuve/neufs/neuves           новый/новая/новое/новую/нового/новые/новых               全新的   新しい
used   instrument!new  used    gebraucht usado/usada/usados/usadas        usagé/usagée/usagés/usagées       подержанный/подержанная/подержанное/подержанную/подержанного/подержанные/подержанных 二手的 中古の
""")

# es masculine/feminine · ru nominative/animate accusative
COUNTS = _table("""
three   number  three   drei    tres/tres       trois     три/трёх                         三  三
four    number  four    vier    cuatro/cuatro   quatre    четыре/четырёх                   四  四
five    number  five    fünf    cinco/cinco     cinq      пять/пять                        五  五
several -       several mehrere varios/varias   plusieurs несколько/несколько    几  数
""")

# where it happened, as a phrase/as a dictionary would have it word by word
PLACES = _table("""
garden  -  in_the_garden    im_Garten/in_der_Garten     en_el_jardín    dans_le_jardin/en_le_jardin  в_саду/в_сад         在花园里/在花园 庭で/中庭
market  -  at_the_market    auf_dem_Markt/an_der_Markt  en_el_mercado   au_marché/à_le_marché        на_рынке/у_рынок     在市场上/在市场 市場で/に市場
school  -  at_the_school    in_der_Schule/an_der_Schule en_la_escuela   à_l'école/à_le_école         в_школе/у_школа      在学校里/在学校 学校で/に学校
station -  at_the_station   am_Bahnhof/an_der_Bahnhof   en_la_estación  à_la_gare/à_le_gare          на_вокзале/у_вокзал  在车站/在车站   駅で/に駅
""")

TIMES = _table("""
yesterday -  yesterday     gestern         ayer             hier               вчера            昨天     昨日
morning   -  this_morning  heute_Morgen    esta_mañana      ce_matin           сегодня_утром    今天早上 今朝
year      -  last_year     letztes_Jahr    el_año_pasado    l'année_dernière   в_прошлом_году   去年     去年
""")

# Another sense of the English word, which a dictionary may hit upon: to draw a cart, a television station, a poor excuse.
SENSES = _table("""
draw    -  draw     ziehen          tirar             tirer             тянуть     拉      引く
find    -  find     befinden        opinar            estimer           считать    认为    思う
rich    -  rich     fettig          grasoso           gras              жирный     油腻的  脂っこい
poor    -  poor     schlecht        malo              mauvais           плохой     差的    悪い
fresh   -  fresh    frech           descarado         effronté          наглый     无礼的  生意気な
used    -  used     gewohnt         acostumbrado      habitué           привыкший  习惯的  慣れた
station -  station  an_der_Sender   en_la_emisora     à_le_chaîne       у_канал    在电台  に放送局
school  -  school   an_der_Schwarm  en_el_banco       à_le_banc         у_косяк    在鱼群  に群れ
""")

# Another sense of the Russian word: a punching bag, to betray, poultry, wretched, a kindergarten.
RUSSIAN_SENSES = _table("""
pear    -  punching_bag     Boxsack            saco_de_boxeo    sac_de_frappe   груша         沙袋     サンドバッグ
sell    -  betray           verraten           traicionar       trahir          предать       出卖     裏切る
bird    -  poultry          Geflügel           ave_de_corral    volaille        птица         家禽     家禽
poor    -  wretched         bedauernswert      lamentable       misérable       бедный        可怜的   哀れな
garden  -  in_kindergarten  in_Kindergarten    en_guardería     en_maternelle   в_детский_сад 在幼儿园 に幼稚園
""")

# what one asks with; `many` before what is counted
ASKING = _table("""
who    -  who       wer       quién    qui      кто      谁        誰
whom   -  whom      wen       quién    qui      кого     谁        誰
what   -  what      was       qué      que      что      什么      何
where  -  where     wo        dónde    où       где      哪里      どこ
when   -  when      wann      cuándo   quand    когда    什么时候  いつ
many   -  how_many  wie_viele cuántos  combien  сколько  多少      いくつ
""")

# the polite past of the Japanese verbs, in which one asks
POLITE = {
    "see": "見ました",
    "chase": "追いかけました",
    "wash": "洗いました",
    "draw": "描きました",
    "invite": "招待しました",
    "find": "見つけました",
    "lose": "なくしました",
    "buy": "買いました",
    "sell": "売りました",
    "praise": "褒めました",
    "criticize": "批判しました",
}
