import type { BinaryReader } from "@bufbuild/protobuf/wire";

/** Reads the next field's tag: field number << 3 | wire type. Throws a RangeError for field number 0, which is invalid. */
export function readTag(reader: BinaryReader): number {
  const tag = reader.uint32();
  if (tag < 1 << 3) throw new RangeError("the message has a field without a number");
  return tag;
}
