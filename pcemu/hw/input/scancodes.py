"""What each key of an IBM enhanced (101/102-key) keyboard sends, by the key names of QMP and `sendkey`.

From the IBM PS/2 Technical Reference, "Keyboard (101- and 102-key)", and for the keys that came later Microsoft's
"Keyboard Scan Code Specification", revision 1.3a.
"""

from __future__ import annotations

# Columns: key name, code in set 1, in set 2, in set 3 (0: none). Codes above 0xff have the prefix 0xe0.
_TABLE = """
    esc          01    76    08      1            02    16    16      2            03    1e    1e
    3            04    26    26      4            05    25    25      5            06    2e    2e
    6            07    36    36      7            08    3d    3d      8            09    3e    3e
    9            0a    46    46      0            0b    45    45      minus        0c    4e    4e
    equal        0d    55    55      backspace    0e    66    66      tab          0f    0d    0d
    q            10    15    15      w            11    1d    1d      e            12    24    24
    r            13    2d    2d      t            14    2c    2c      y            15    35    35
    u            16    3c    3c      i            17    43    43      o            18    44    44
    p            19    4d    4d      bracket_left 1a    54    54      bracket_right 1b   5b    5b
    ret          1c    5a    5a      ctrl         1d    14    11      a            1e    1c    1c
    s            1f    1b    1b      d            20    23    23      f            21    2b    2b
    g            22    34    34      h            23    33    33      j            24    3b    3b
    k            25    42    42      l            26    4b    4b      semicolon    27    4c    4c
    apostrophe   28    52    52      grave_accent 29    0e    0e      shift        2a    12    12
    backslash    2b    5d    5c      z            2c    1a    1a      x            2d    22    22
    c            2e    21    21      v            2f    2a    2a      b            30    32    32
    n            31    31    31      m            32    3a    3a      comma        33    41    41
    dot          34    49    49      slash        35    4a    4a      shift_r      36    59    59
    kp_multiply  37    7c    7e      alt          38    11    19      spc          39    29    29
    caps_lock    3a    58    14      f1           3b    05    07      f2           3c    06    0f
    f3           3d    04    17      f4           3e    0c    1f      f5           3f    03    27
    f6           40    0b    2f      f7           41    83    37      f8           42    0a    3f
    f9           43    01    47      f10          44    09    4f      num_lock     45    77    76
    scroll_lock  46    7e    5f      kp_7         47    6c    6c      kp_8         48    75    75
    kp_9         49    7d    7d      kp_subtract  4a    7b    84      kp_4         4b    6b    6b
    kp_5         4c    73    73      kp_6         4d    74    74      kp_add       4e    79    7c
    kp_1         4f    69    69      kp_2         50    72    72      kp_3         51    7a    7a
    kp_0         52    70    70      kp_decimal   53    71    71      less         56    61    13
    f11          57    78    56      f12          58    07    5e

    kp_enter     e01c  e05a  79      ctrl_r       e01d  e014  58      kp_divide    e035  e04a  77
    alt_r        e038  e011  39      home         e047  e06c  6e      up           e048  e075  63
    pgup         e049  e07d  6f      left         e04b  e06b  61      right        e04d  e074  6a
    end          e04f  e069  65      down         e050  e072  60      pgdn         e051  e07a  6d
    insert       e052  e070  67      delete       e053  e071  64      meta_l       e05b  e01f  8b
    meta_r       e05c  e027  8c      compose      e05d  e02f  8d      menu         e01e  00    91

    power        e05e  e037  00      sleep        e05f  e03f  00      wake         e063  e05e  00
    audionext    e019  e04d  93      audioprev    e010  e015  94      audiostop    e024  e03b  98
    audioplay    e022  e034  00      audiomute    e020  e023  9c      volumeup     e030  e032  95
    volumedown   e02e  e021  9d      mediaselect  e06d  e050  00      mail         e06c  e048  00
    calculator   e021  e02b  a3      computer     e06b  e040  00
    ac_home      e032  e03a  97      ac_back      e06a  e038  00      ac_forward   e069  e030  00
    ac_refresh   e067  e020  00      ac_bookmarks e066  e018  00

    kp_equals    59    0f    00      kp_comma     7e    6d    00      ro           73    51    51
    hiragana     77    62    87      katakanahiragana 70 13   87      henkan       79    64    86
    muhenkan     7b    67    85      yen          7d    6a    5d      lang1        f2    f2    00
    lang2        f1    f1    00
    f13          5d    2f    7f      f14          5e    37    80      f15          5f    3f    81
    f16          55    00    82      f17          00    00    83
"""


def _parse(column: int) -> dict[str, int]:
    words = _TABLE.split()
    return {words[i]: code for i in range(0, len(words), 4) if (code := int(words[i + column], 16))}


# By scan code set. `print` and `pause` are not here: what they send depends on the shift keys (see ps2.py).
CODES: dict[int, dict[str, int]] = {number: _parse(number) for number in (1, 2, 3)}
CODES[3] |= {"print": 0x57, "sysrq": 0x57, "pause": 0x62}
for _codes in CODES.values():
    _codes["asterisk"] = _codes["kp_multiply"]

KEYS = frozenset().union(*CODES.values(), ("print", "sysrq", "pause"))

# Key types of set 3: does a held key repeat, does a released one say so?
TYPEMATIC, BREAK = 1, 2

# Power-on types: what is not named here is typematic without a break code.
SET3_MAKE_BREAK = ("caps_lock", "shift", "shift_r", "ctrl", "alt")
SET3_MAKE_ONLY = (
    "alt_r", "ctrl_r", "insert", "home", "end", "pgup", "pgdn", "num_lock", "esc", "print", "scroll_lock", "pause",
    *(f"f{number}" for number in range(1, 13)),
    *(f"kp_{number}" for number in range(10)),
    "kp_divide", "kp_multiply", "kp_decimal", "kp_subtract", "kp_enter",
)  # fmt: skip


def set3_default_types() -> bytearray:
    """The type of each key by its code in set 3."""
    types = bytearray([TYPEMATIC]) * 256
    for key in SET3_MAKE_BREAK:
        types[CODES[3][key]] = BREAK
    for key in SET3_MAKE_ONLY:
        types[CODES[3][key]] = 0
    return types


# What the keyboard controller makes of a code of set 2 (translation to set 1), for codes up to 0x84.
TRANSLATION = bytes.fromhex(
    "ff43413f3d3b3c58 644442403e0f2959 65382a701d10025a 66712c1f1e11035b"
    "672e2d201205045c 68392f211413065d 693130232215075e 6a7232241608095f"
    "6b332517180b0a60 6c34352627190c61 6d7328741a0d626e 3a361c1b752b6376"
    "5556777879 7a0e7b 7c4f7d4b477e7f6f 5253504c4d480145 574e514a37494654"
    "8081824154"
)
