import { createHash } from "node:crypto";
import { rampBytes } from "../emulators/s3.js";

/** The bucket that all clients read. */
export const BUCKET = "clients";

/** A bucket for what clients write, to the origin or through members. */
export const WRITABLE_BUCKET = "clients-written";

const MiB = 1 << 20;

/** Values of a model and of an array: 0, 1, 2 and so on, 32 bits each. */
const VALUES = Buffer.from(Int32Array.from({ length: 128 * 1_024 }, (_, at) => at).buffer);

/** A file of safetensors: the length of the head, the head, the values. */
function safetensors(): Buffer {
  const head = Buffer.from(JSON.stringify({ values: { dtype: "I32", shape: [128, 1_024], data_offsets: [0, VALUES.length] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  return Buffer.concat([length, head, VALUES]);
}

/** The objects of an array in Zarr's third format, in uncompressed chunks. */
function zarr(): [key: string, bytes: Buffer][] {
  const chunkBytes = VALUES.length / 4;
  const array = {
    zarr_format: 3,
    node_type: "array",
    shape: [128, 1_024],
    data_type: "int32",
    chunk_grid: { name: "regular", configuration: { chunk_shape: [32, 1_024] } },
    chunk_key_encoding: { name: "default", configuration: { separator: "/" } },
    fill_value: 0,
    codecs: [{ name: "bytes", configuration: { endian: "little" } }],
  };
  const chunks = [0, 1, 2, 3].map((row): [string, Buffer] => [
    `data/array.zarr/c/${row}/0`,
    VALUES.subarray(row * chunkBytes, (row + 1) * chunkBytes),
  ]);
  return [["data/array.zarr/zarr.json", Buffer.from(JSON.stringify(array))], ...chunks];
}

/** A TIFF of 512 by 512 grey pixels in strips of 16 rows, with a place on Earth. */
function geoTiff(): Buffer {
  const [size, rows] = [512, 16];
  const strips = size / rows;
  const [SHORT, LONG, DOUBLE] = [3, 4, 12];
  const doubles = Buffer.from(Float64Array.from([0.5, 0.5, 0, 0, 0, 0, 10, 50, 0]).buffer);
  const geoKeys = Buffer.from(Uint16Array.from([1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326]).buffer);
  const tables = 8;
  const [offsetsAt, countsAt] = [tables + doubles.length + geoKeys.length, tables + doubles.length + geoKeys.length + strips * 4];
  const pixelsAt = countsAt + strips * 4;
  const directoryAt = pixelsAt + size * size;
  const entries: [tag: number, type: number, count: number, value: number][] = [
    [256, SHORT, 1, size],
    [257, SHORT, 1, size],
    [258, SHORT, 1, 8],
    [259, SHORT, 1, 1],
    [262, SHORT, 1, 1],
    [273, LONG, strips, offsetsAt],
    [277, SHORT, 1, 1],
    [278, SHORT, 1, rows],
    [279, LONG, strips, countsAt],
    [33550, DOUBLE, 3, tables],
    [33922, DOUBLE, 6, tables + 24],
    [34735, SHORT, geoKeys.length / 2, tables + doubles.length],
  ];
  const head = Buffer.from("II*\0\0\0\0\0", "latin1");
  head.writeUInt32LE(directoryAt, 4);
  const offsets = Buffer.from(Uint32Array.from({ length: strips }, (_, at) => pixelsAt + at * size * rows).buffer);
  const counts = Buffer.from(Uint32Array.from({ length: strips }, () => size * rows).buffer);
  const directory = Buffer.alloc(2 + entries.length * 12 + 4);
  directory.writeUInt16LE(entries.length);
  entries.forEach(([tag, type, count, value], at) => {
    const from = 2 + at * 12;
    directory.writeUInt16LE(tag, from);
    directory.writeUInt16LE(type, from + 2);
    directory.writeUInt32LE(count, from + 4);
    directory.writeUInt32LE(value, from + 8);
  });
  return Buffer.concat([head, doubles, geoKeys, offsets, counts, rampBytes(0, size * size, 0), directory]);
}

/** The objects that all clients read: an empty one, odd names, one of several blocks, and files of formats. */
export const objects: ReadonlyMap<string, Buffer> = new Map([
  ["empty", Buffer.alloc(0)],
  ["small.txt", Buffer.from("hello clients")],
  ["dir/medium.bin", rampBytes(0, 3 * MiB + 17, 3)],
  ["dir/large.bin", rampBytes(0, 36 * MiB + 1, 5)],
  ["odd/a b+c&d=e'(f)#g%h.txt", Buffer.from("odd")],
  ["data/table.csv", Buffer.from(`a,b\n${Array.from({ length: 1_000 }, (_, at) => `${at},x\n`).join("")}`)],
  ["odd/é 日本.txt", Buffer.from("unicode")],
  ["data/model.safetensors", safetensors()],
  ["data/image.tif", geoTiff()],
  ...zarr(),
]);

/** An object as a client reported it. */
export interface ReadObject {
  readonly size: number;
  readonly md5: string;
}

/** What each client must report. */
export const expected: ReadonlyMap<string, ReadObject> = new Map(
  [...objects].map(([key, bytes]) => [key, { size: bytes.length, md5: createHash("md5").update(bytes).digest("hex") }]),
);
