#!/usr/bin/env python3
"""Makes the demo course's handbook as a PDF and as an EPUB: small, valid, and of several pages. Standard library only."""
import sys
import zipfile

TITLE = "A short handbook of organ building"
CHAPTERS = [("The wind", "A steady wind is the first thing an organ needs. The bellows give it, the reservoir evens it."),
            ("The pipes", "A flue pipe speaks by its lip, a reed pipe by its tongue. Length gives the pitch, width the colour."),
            ("The action", "From the key to the valve: trackers, squares and rollers, each as light as it can be."),
            ("The voicing", "Last comes the voicer, who makes a thousand pipes into one instrument.")]


def pdf(path):
    """One page a chapter, Helvetica, written by hand: objects, then the cross-reference table (ISO 32000-1, 7.5)."""
    pages = [[TITLE]] + [[head] + [text[i:i + 70] for i in range(0, len(text), 70)] for head, text in CHAPTERS]
    objects = ["<< /Type /Catalog /Pages 2 0 R >>",
               "<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))),
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for i, lines in enumerate(pages):
        body = "BT /F1 24 Tf 72 720 Td (%s) Tj /F1 12 Tf " % lines[0]
        body += " ".join("0 -24 Td (%s) Tj" % line for line in lines[1:]) + " ET"
        objects.append("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
                       "/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * i))
        objects.append("<< /Length %d >>\nstream\n%s\nendstream" % (len(body), body))
    out, offsets = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, text.encode("latin-1"))
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    with open(path, "wb") as f:
        f.write(out)


def epub(path):
    """EPUB 3: mimetype first and stored, container, package document, navigation, one file a chapter."""
    page = ('<?xml version="1.0" encoding="UTF-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml" '
            'xmlns:epub="http://www.idpf.org/2007/ops"><head><title>%s</title></head><body>%s</body></html>')
    manifest = "".join(f'<item id="c{i}" href="c{i}.xhtml" media-type="application/xhtml+xml"/>' for i in range(len(CHAPTERS)))
    spine = "".join(f'<itemref idref="c{i}"/>' for i in range(len(CHAPTERS)))
    links = "".join(f'<li><a href="c{i}.xhtml">{head}</a></li>' for i, (head, _) in enumerate(CHAPTERS))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        z.writestr("META-INF/container.xml", '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:'
                   'xmlns:container"><rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>'
                   '</rootfiles></container>')
        z.writestr("OEBPS/book.opf", '<?xml version="1.0" encoding="UTF-8"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
                   'unique-identifier="id"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">lectern-demo'
                   f'</dc:identifier><dc:title>{TITLE}</dc:title><dc:language>en</dc:language><meta property="dcterms:modified">'
                   '2026-01-01T00:00:00Z</meta></metadata><manifest><item id="nav" href="nav.xhtml" properties="nav" '
                   f'media-type="application/xhtml+xml"/>{manifest}</manifest><spine>{spine}</spine></package>')
        z.writestr("OEBPS/nav.xhtml", page % (TITLE, f'<nav epub:type="toc"><ol>{links}</ol></nav>'))
        for i, (head, text) in enumerate(CHAPTERS):
            z.writestr(f"OEBPS/c{i}.xhtml", page % (head, f"<h1>{head}</h1><p>{text}</p>"))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: demo_books.py OUT.pdf OUT.epub")
    pdf(sys.argv[1])
    epub(sys.argv[2])
