"""Whether the links of a book of HTML lead somewhere: files that are there, and headings that they have. Prints those that do not.

    book_links.py FOLDER
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.ids |= {named[name] for name in ("id", "name") if named.get(name)}
        # Without `class="…"` of the book's own buttons: what stands in its pages.
        self.links += [named[name] for name in ("href", "src") if named.get(name) and tag in ("a", "img")]


top = Path(sys.argv[1]).resolve()
# The first is all pages in one, whose links are those of the others; the second belongs to no folder.
pages = {path: Page(path) for path in top.rglob("*.html") if path.name not in ("print.html", "404.html") and "results/example" not in str(path)}
wrong = set()
for path, page in pages.items():
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if to.is_dir():
            to /= "index.html"
        if not to.exists():
            wrong.add(f"{path.relative_to(top)}: {link}: no such file")
        elif parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].ids:
            wrong.add(f"{path.relative_to(top)}: {link}: no such heading")
print("\n".join(sorted(wrong)) or f"{len(pages)} pages, all links hold")
sys.exit(1 if wrong or len(pages) < 50 else 0)
