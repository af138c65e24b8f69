"""The snippets of docs/test-suites.md are parts of the programs that run here."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = {
    "python": "test_module.py",
    "java": "java/StockModule.java",
    "js": "node/minio.test.mjs",
    "go": "go/main.go",
    "rust": "rust/src/main.rs",
}


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_every_snippet_of_the_page_runs():
    page = (HERE.parent.parent / "docs/test-suites.md").read_text()
    section = page.split("## With testcontainers")[1].split("\n## ")[0]
    found = re.findall(r"^```(python|java|js|go|rust)(?: no-run: [^\n]*)?\n(.*?)^```$", section, re.M | re.S)
    assert {language for language, _ in found} == set(PROGRAMS)
    for language, snippet in found:
        program = lines((HERE / PROGRAMS[language]).read_text())
        missing = [line for line in lines(snippet) if line not in program]
        assert not missing, f"{PROGRAMS[language]} does not run: {missing}"
