import type { BinaryReader } from "@bufbuild/protobuf/wire";

/** The next field's tag: field number << 3 | wire type. Field numbers begin with 1; a RangeError says that the bytes are no message. */
export function readTag(reader: BinaryReader): number {
  const tag = reader.uint32();
  if (tag < 1 << 3) throw new RangeError("the message has a field without a number");
  return tag;
}
