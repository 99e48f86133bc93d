#!/usr/bin/env python3
"""Checks a metadsl bundle from ledger/FORMAT.md alone: the standard library and `pip install blake3`.

Usage: verify_bundle.py FILE. Prints the runs and the heads they are proved under; exit code 1 where anything is wrong.
"""
import struct
import sys

from blake3 import blake3

KINDS = ("source plan manifest numerics input env series trace weights result run verdict blob note arm cell imported").split()
EVIDENCE = 255


class Wrong(Exception):
    """What is wrong with a bundle."""


def keyed(context, *parts):
    hasher = blake3(derive_key_context="metadsl 2026 " + context)
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def need(fine, what):
    if not fine:
        raise Wrong(what)


def decode(data):
    """One deterministic CBOR item and nothing after it."""
    value, at = item(data, 0, 0)
    need(at == len(data), "bytes after a value")
    return value


def item(data, at, depth):
    need(depth <= 256, "nested too deeply")
    need(at < len(data), "a value ends early")
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        if low in (20, 21, 22):
            return {20: False, 21: True, 22: None}[low], at
        need(low == 27 and at + 8 <= len(data), "an item that values do not have")
        bits = data[at : at + 8]
        real = struct.unpack(">d", bits)[0]
        need(real == real or bits == bytes.fromhex("7ff8000000000000"), "another NaN")
        return real, at + 8
    need(major != 6 and low <= 27, "an item that values do not have")
    if low >= 24:
        width = 1 << (low - 24)
        need(at + width <= len(data), "a value ends early")
        number = int.from_bytes(data[at : at + width], "big")
        at += width
        need(number >= (24 if width == 1 else 1 << (4 * width)), "a number that is not shortest")
    else:
        number = low
    if major <= 1:
        need(number < 1 << 63, "an integer beyond 64 bits with sign")
        return (number if major == 0 else -1 - number), at
    if major <= 3:
        need(at + number <= len(data), "a value ends early")
        piece = data[at : at + number]
        return (piece if major == 2 else piece.decode("utf-8")), at + number
    if major == 4:
        items = []
        for _ in range(number):
            value, at = item(data, at, depth + 1)
            items.append(value)
        return items, at
    entries, before = {}, b""
    for _ in range(number):
        start = at
        key, at = item(data, at, depth + 1)
        need(isinstance(key, str) and data[start:at] > before, "keys that are not sorted texts")
        before = data[start:at]
        entries[key], at = item(data, at, depth + 1)
    return entries, at


def references(kind, value):
    """The objects that an object refers to, with their kinds."""
    if kind == "manifest":
        return [("blob", file["blob"]) for file in value["files"]]
    if kind == "input":
        return [(name, value[name]) for name in ("plan", "manifest", "numerics")]
    if kind == "result":
        found = [("input", value["input"])]
        for cell in value["cells"]:
            found += [("series", series["id"]) for series in cell["series"]]
            found += [("trace", cell["trace"]), ("weights", cell["weights"])]
        return found
    if kind == "run":
        found = [(name, value[name]) for name in ("input", "result", "env")]
        return found + ([("source", value["source"])] if value["source"] is not None else [])
    if kind == "imported":
        return [("series", series["id"]) for series in value["series"]]
    if kind == "verdict":
        return [("result", value["old"]), ("result", value["new"])]
    return []


def weights_of(objects, run):
    """The weights that a run's result refers to."""
    kind, result = objects.get(run["result"], (None, None))
    return {cell["weights"] for cell in result["cells"]} if kind == "result" else set()


def left_out(objects):
    """The weights that need not be there: some run or verdict leaves them out, and no run that names them keeps them."""
    some, kept = set(), set()
    for kind, value in objects.values():
        if kind in ("run", "verdict") and "left_out" in value:
            ids = value["left_out"]
            need(ids and all(a < b for a, b in zip(ids, ids[1:])), "what is left out is not sorted")
            some.update(ids)
        if kind == "run":
            need(set(value.get("left_out", ())) <= weights_of(objects, value), "a run leaves out what is no weights of it")
            kept |= weights_of(objects, value) - set(value.get("left_out", ()))
    return some - kept


def root_of(leaf, number, size, path):
    """The root that an audit path leads to (RFC 6962, section 2.1.1)."""
    if size == 1:
        need(not path, "an audit path that is too long")
        return leaf
    need(path, "an audit path that is too short")
    left = 1 << ((size - 1).bit_length() - 1)
    if number < left:
        return keyed("node", root_of(leaf, number, left, path[:-1]), path[-1])
    return keyed("node", path[-1], root_of(leaf, number - left, size - left, path[:-1]))


def check(data):
    """The runs of a bundle and the heads they are proved under."""
    magic = b"metadsl bundle 1\n"
    need(data.startswith(magic) and len(data) >= len(magic) + 32, "not a bundle")
    need(keyed("bundle", data[:-32]) == data[-32:], "the last 32 bytes are not the hash of the others")
    objects, proofs, at, end = {}, [], len(magic), len(data) - 32
    while at < end:
        need(at + 9 <= end, "a section ends early")
        code, size = struct.unpack("<BQ", data[at : at + 9])
        at += 9
        need(size <= end - at, "a section announces more than there is")
        payload, at = data[at : at + size], at + size
        if code == EVIDENCE:
            proofs.append(decode(payload))
        else:
            need(code < len(KINDS), "a section of no kind")
            kind = KINDS[code]
            plain = kind == "blob"
            ident = blake3(payload).digest() if plain else keyed(kind, payload)
            objects[ident] = (kind, None if plain else decode(payload))
    excused = left_out(objects)
    for kind, value in objects.values():
        for wanted, ident in references(kind, value):
            found = objects.get(ident, (None,))[0]
            absent = found is None and (wanted == "blob" or (wanted == "weights" and ident in excused))
            need(found == wanted or absent, f"a {kind} needs a {wanted} that is not there")
            if kind == "run" and wanted == "result":
                need(objects[ident][1]["input"] == value["input"], "a run's result belongs to another input")
    proved, heads = set(), set()
    for proof in proofs:
        size, number = proof["frames"], proof["number"]
        need(0 <= number < size, "evidence of a frame outside its log")
        root = root_of(keyed("leaf", proof["payload"]), number, size, proof["path"])
        need(root == proof["root"], "an audit path that does not lead to its root")
        proved.add(decode(proof["payload"])["Run"]["id"])
        heads.add((proof["stream"], size, root.hex()))
    runs = {ident for ident, (kind, _) in objects.items() if kind == "run"}
    need(runs == proved, "runs and proofs do not match")
    return sorted(ident.hex() for ident in runs), sorted(heads), len(objects)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        runs, heads, objects = check(data)
    except (Wrong, KeyError, TypeError, IndexError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        print(f"damaged: {error!r}")
        sys.exit(1)
    for run in runs:
        print("run", run)
    for stream, size, root in heads:
        print(f"listed by stream {stream!a} of {size} frames under root {root}")
    print(f"{objects} objects, {len(runs)} runs: nothing is damaged")


if __name__ == "__main__":
    main()
