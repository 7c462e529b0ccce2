"""Which programming language a text is written in, by what is in it; its name only breaks a tie.

A judgement, made to be silent rather than wrong: a language is named when lines of at least two sorts that are its own
are there (one, where the file is named like it), and no other language has as many.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

SAMPLE_CHARACTERS: Final = 64 * 1024
LINES: Final = 1000
LINE_CHARACTERS: Final = 160

_SHEBANG: Final = re.compile(
    r"#!\s*\S*?(?:env\s+(?:-S\s+)?)?(python|node|ruby|perl|php|bash|zsh|dash|ksh|sh|lua|Rscript)[\d.]*\b"
)
_INTERPRETERS: Final = {"node": "JavaScript", "php": "PHP", "Rscript": "R"} | dict.fromkeys(
    ("bash", "zsh", "dash", "ksh", "sh"), "Shell"
)

# Of each language: its endings, and sorts of lines that are its own.
_LANGUAGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "Python": (".py .pyi", (r"^\s*def \w+\(.*\).*:\s*$", r"^(from [\w.]+ )?import [\w.]+", r"^\s*(el)?if .+:\s*$", r"^class \w+.*:\s*$", r"\bself\.\w+", r"__name__ == ")),
    "JavaScript": (".js .mjs .cjs .jsx", (r"\b(const|let|var) \w+ = ", r"\bfunction\s*\w*\(.*\)\s*\{", r"=>\s*[{(\w]", r"\brequire\(['\"]", r"\bmodule\.exports\b|^export (default|const|function)", r"\b(document|console|window)\.\w+")),
    "TypeScript": (".ts .tsx", (r"^\s*(export )?(interface|type) \w+.*[{=]", r"\w+\??: (string|number|boolean|void|any)\b", r"^import .* from ['\"]", r"\b(private|public|readonly) \w+\??:", r"\bas const\b")),
    "Java": (".java", (r"^import java[\w.]*;", r"^package [\w.]+;", r"\bpublic (static |final )*(class|interface|enum|void)\b", r"@Override", r"System\.out\.")),
    "C#": (".cs", (r"^using [\w.]+;", r"^\s*namespace [\w.]+", r"\bConsole\.Write", r"\{ get; (private )?set; \}", r"\bpublic (async )?(Task|string|int|class|void)\b")),
    "C": (".c .h", (r"^#include [<\"][\w/.]+\.h[>\"]", r"^(static |unsigned |const )*(int|void|char|size_t) \*?\w+\(.*\)\s*\{?$", r"\b(printf|malloc|free|sizeof|memcpy)\(", r"^#(define|ifndef|ifdef) \w+", r"\bstruct \w+ \{|->\w+")),
    "C++": (".cpp .cc .cxx .hpp .hh", (r"^#include <(iostream|vector|string|memory|map|algorithm)>", r"\bstd::\w+", r"\btemplate\s*<", r"^using namespace \w+;", r"\b(class|struct) \w+ .*\{|\w+::\w+\(", r"\b(cout|cin) (<<|>>)")),
    "Go": (".go", (r"^package \w+$", r"^func (\(\w+ \*?\w+\) )?\w+\(.*\{$", r":= ", r"^import (\(|\")", r"\bif err != nil\b")),
    "Rust": (".rs", (r"\bfn \w+.*(->|\{)", r"\blet (mut )?\w+", r"^use (std|crate|super)::", r"\bimpl(<.*>)? \w+", r"\b(println|vec|format|assert(_eq)?)!", r"#\[derive\(")),
    "Ruby": (".rb", (r"^\s*def \w+[?!]?(\(.*\))?\s*$", r"^\s*end\s*$", r"^require ['\"]", r"\bdo \|\w+", r"\battr_(accessor|reader)\b", r"\bputs ")),
    "PHP": (".php", (r"<\?php", r"\$\w+ = ", r"\$this->", r"\bfunction \w+\(.*\$", r"\becho ")),
    "Perl": (".pl .pm", (r"^use (strict|warnings);", r"\bmy [$@%]\w+", r"\bsub \w+ \{", r"=~ [ms]?/", r"\$_\b|@_\b")),
    "Shell": (".sh .bash", (r"^\s*(if|elif) \[\[? .* \]\]?;? ?(then)?", r"^\s*fi\s*$", r"^\s*(done|esac)\s*$", r"\$\{?\w+\}?\"? ", r"^\s*echo ", r"^export \w+=")),
    "SQL": (".sql", (r"(?i)^\s*select\b.+", r"(?i)\bfrom \w+", r"(?i)^\s*(create|alter|drop) (table|index|view)\b", r"(?i)^\s*insert into\b", r"(?i)\bwhere \w+")),
    "CSS": (".css .scss .less", (r"^\s*[.#]?[\w-]+(:\w+)?( [.#>]?[\w-]+)*\s*\{\s*$", r"^\s*(color|margin|padding|display|font(-\w+)?|width|background(-\w+)?):\s*.+;", r"^@(media|import|font-face|keyframes)\b")),
    "Kotlin": (".kt .kts", (r"\bfun \w+\(.*\)", r"\bva[lr] \w+(: \w+)? = ", r"^import [\w.]+$", r"\bdata class\b", r"\bprintln\(")),
    "Swift": (".swift", (r"\bfunc \w+\(.*\).*\{", r"^import (Foundation|UIKit|SwiftUI)", r"\b(let|var) \w+(: [\w\[\]?]+)? = ", r"\bguard let\b", r"\bstruct \w+: \w+")),
    "R": (".r", (r"<- function\(", r"\w+ <- ", r"^library\(\w+\)", r"\bdata\.frame\(", r"%>%|\$\w+")),
    "Lua": (".lua", (r"^\s*local \w+", r"^\s*function [\w.:]+\(.*\)\s*$", r"\bthen\s*$", r"^\s*end\s*$", r"\.\. ")),
    "Scala": (".scala", (r"^\s*(case )?(class|object|trait) \w+", r"\bdef \w+(\[.*\])?(\(.*\))?(: \w+)? =", r"\bva[lr] \w+", r"^import scala\.")),
}  # fmt: skip
_PATTERNS: Final = {
    name: (frozenset(endings.split()), tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns))
    for name, (endings, patterns) in _LANGUAGES.items()
}


def programming_language(text: str, name: str) -> str | None:
    """The language that a text is written in; None for prose, and where it cannot be told."""
    # Lines as people write them: on a long one, or a run of blank ones, the patterns would take for ever.
    lines = [
        line for line in text[:SAMPLE_CHARACTERS].splitlines()[:LINES] if line.strip() and len(line) <= LINE_CHARACTERS
    ]
    sample = "\n".join(lines)
    shebang = _SHEBANG.match(sample)
    if shebang:
        return _INTERPRETERS.get(shebang[1], shebang[1].capitalize())
    ending = PurePath(name).suffix.lower()
    scores: dict[str, float] = {}
    for language, (endings, patterns) in _PATTERNS.items():
        hits = sum(pattern.search(sample) is not None for pattern in patterns)
        if hits and ending in endings:
            scores[language] = hits + 2.5
        elif hits >= 2:
            scores[language] = hits
    if not scores:
        return None
    ranked = sorted(scores.values(), reverse=True)
    best = max(scores, key=lambda language: scores[language])
    clear = len(ranked) == 1 or ranked[0] > ranked[1]
    return best if clear and ranked[0] >= 3 else None
