"""DER as a tree that can be changed and written again, and what a change may be. Lengths stay right, unless the change is one of
a length, so that what is odd lies in what is said and not in how it is packed."""


class Node:
    """A value with its tag; children where it is made of others, else content."""

    def __init__(self, tag, content, children=None, prefix=b""):
        self.tag, self.content, self.children, self.prefix = tag, content, children, prefix

    def encode(self):
        content = self.prefix + b"".join(child.encode() for child in self.children) if self.children is not None else self.content
        length = len(content)
        if length < 0x80:
            head = bytes([length])
        else:
            packed = length.to_bytes((length.bit_length() + 7) // 8, "big")
            head = bytes([0x80 | len(packed)]) + packed
        return bytes([self.tag]) + head + content

    def walk(self):
        """All nodes below this one, each with its parent."""
        for child in self.children or []:
            yield child, self
            yield from child.walk()


def parse_all(data):
    """The values that data is made of, or None where it is not DER."""
    nodes = []
    while data:
        if len(data) < 2 or data[0] & 0x1F == 0x1F:
            return None
        length, start = data[1], 2
        if length & 0x80:
            count = length & 0x7F
            start += count
            if not 0 < count <= 3 or len(data) < start:
                return None
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            return None
        content = data[start : start + length]
        children = None
        # An OCTET STRING of an extension holds DER, too; a BIT STRING may, behind the number of its unused bits
        if data[0] & 0x20 or data[0] == 0x04 and length > 1:
            children = parse_all(content)
        nodes.append(Node(data[0], content, children))
        data = data[start + length :]
    return nodes


def parse(data):
    nodes = parse_all(data)
    if not nodes or len(nodes) != 1:
        raise ValueError("not one value of DER")
    return nodes[0]


def mutate(root, random):
    """Changes one thing at random below root; what it did, in words."""
    node, parent = random.choice(list(root.walk()))
    place = parent.children.index(node)
    what = random.choice(["byte", "byte", "byte", "drop", "double", "tag", "swap", "grow", "shrink", "boolean"])
    if what == "boolean":
        booleans = [one for one, _ in root.walk() if one.tag == 1 and one.content]
        if booleans:
            random.choice(booleans).content = random.choice([b"\xff", b"\x00", b"\x01"])
            return "a boolean is another"
        what = "drop"
    if what in ("byte", "grow", "shrink") and (node.children is not None or not node.content):
        what = random.choice(["drop", "double", "swap"])
    if what == "byte":
        at = random.randrange(len(node.content))
        changed = bytearray(node.content)
        changed[at] ^= 1 << random.randrange(8)
        node.content = bytes(changed)
    elif what == "drop":
        del parent.children[place]
    elif what == "double":
        parent.children.insert(place, node)
    elif what == "tag":
        node.tag ^= 1 << random.randrange(5)
    elif what == "swap":
        other = random.randrange(len(parent.children))
        parent.children[place], parent.children[other] = parent.children[other], node
    elif what == "grow":
        node.content = node.content + node.content[-1:]
    else:
        node.content = node.content[:-1]
    return f"{what} {node.tag:#04x}"
