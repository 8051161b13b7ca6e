#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Manual pages (section 3) of the public calls, from the public headers: what a header says of a call is said once, there.
A header becomes one page, NAME vio_HEADER; each of its calls an alias of it, so that `man vio_drvq_put` works.

usage: man3.py FOLDER_OF_HEADERS [OUTPUT_FOLDER]      without OUTPUT_FOLDER: where `meson install` says
"""
import glob
import os
import re
import sys

FUNCTION = re.compile(r"^(?!static|typedef|#|(?:struct|enum|union) (?:\w+ )?\{)[a-z][\w\s\*]*?\b(vio_\w+)\([^;{]*\)[^;{]*;", re.S)


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in ".'" else line for line in text.split("\n"))


def comment_text(block):
    """The words of a /* */ comment, each line without its star."""
    lines = block.strip()[2:-2].split("\n")
    return "\n".join(re.sub(r"^\s*\*? ?", "", line).rstrip() for line in lines).strip()


def pieces(source):
    """Comments, declarations and blank lines of a header, in order, as (kind, text)."""
    at = 0
    while at < len(source):
        rest = source[at:]
        if rest[0] == "\n":
            yield "blank", "\n"
            at += 1
        elif rest.startswith("/*"):
            end = rest.index("*/") + 2
            yield "comment", rest[:end]
            at += end + (rest[end:end + 1] == "\n")
        elif rest[0] == "#":
            line = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n?", rest).group(0)
            yield "directive", line
            at += len(line)
        else:
            end = declaration_end(rest)
            yield "code", rest[:end]
            at += end
            if rest[end:end + 1] == "\n":
                at += 1


def declaration_end(text):
    """Where a declaration ends, with the comment that stands behind it on its last line."""
    depth = i = 0
    while i < len(text):
        if text.startswith("/*", i):
            i = text.index("*/", i) + 2
            continue
        depth += text[i] in "{(" 
        depth -= text[i] in "})"
        i += 1
        if depth == 0 and (text[i - 1] == ";" or (text[i - 1] == "}" and not re.match(r"\s*;", text[i:]))):
            return text.find("\n", i) if text.find("\n", i) >= 0 else len(text)
    return len(text)


def entries(source):
    """(comment, [declarations]) of what stands together: a comment and the code up to the next blank line or comment."""
    comment, code = "", []
    for kind, text in pieces(source):
        if kind == "comment" and not code:
            comment = text
        elif kind == "code":
            code.append(text.strip("\n"))
        else:
            if code:
                yield comment, code
            comment, code = (text if kind == "comment" else ""), []
    if code:
        yield comment, code


def page(name, source):
    purpose = re.search(r"\* Purpose: (.*?)(?:\.\s|\n \*/)", source, re.S).group(1)
    purpose = re.sub(r"\s*\n \* ?", " ", purpose).strip()
    head = comment_text(re.search(r"/\*\n \* Purpose:.*?\*/", source, re.S).group(0))
    functions, told = [], []
    body = source[source.index("#define"):] if "#define" in source else source
    body = re.sub(r"^#define VIO_\w+_H\n", "", body)
    for comment, code in entries(body):
        if re.match(r"/\* -{10,}", comment):
            comment = ""
        found = [FUNCTION.match(c).group(1) for c in code if FUNCTION.match(c)]
        functions += found
        told.append((comment, code))
    out = ['.\\" SPDX-License-Identifier: MIT', '.\\" made from the header by packaging/man3.py',
           '.TH vio_%s 3 "" "vio" "Library calls"' % name, ".SH NAME",
           ", ".join(["vio_" + name] + [f for f in functions if f != "vio_" + name]) + " \\- " + escape(purpose),
           ".SH SYNOPSIS", ".nf", ".B #include <vio/%s.h>" % name, ".PP", "Link with \\fB\\-lvio\\fP (pkg-config vio).", ".fi",
           ".SH DESCRIPTION"]
    out += [escape(head).replace("\n", "\n.br\n")]
    for comment, code in told:
        out += [".PP", ".nf", ".ft B", escape("\n".join(code)), ".ft R", ".fi"]
        if comment:
            out += [".RS 4", escape(comment_text(comment)), ".RE"]
    others = sorted(h for h in NAMES if h != name)
    out += [".SH SEE ALSO", ".BR vio (1)," + "\n" + ",\n".join(".BR vio_%s (3)" % h for h in others)]
    return "\n".join(out).replace(".BR vio (1),\n", ".BR vio (1),\n") + "\n", functions


def main():
    global NAMES
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = sys.argv[2] if len(sys.argv) == 3 else \
        os.path.join(os.environ["MESON_INSTALL_DESTDIR_PREFIX"], "share/man/man3")
    os.makedirs(folder, exist_ok=True)
    headers = {os.path.basename(p)[:-2]: p for p in sorted(glob.glob(sys.argv[1] + "/*.h"))}
    NAMES = [n for n in headers if n != "vio"]
    for name in NAMES:
        with open(headers[name]) as text:
            written, functions = page(name, text.read())
        with open(os.path.join(folder, "vio_%s.3" % name), "w") as out:
            out.write(written)
        for function in functions:
            if function != "vio_" + name:
                with open(os.path.join(folder, function + ".3"), "w") as out:
                    out.write(".so man3/vio_%s.3\n" % name)


main()
