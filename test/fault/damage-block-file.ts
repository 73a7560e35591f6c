import { closeSync, copyFileSync, openSync, readSync, renameSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { FOOTER_BYTES, type Geometry } from "@frontcache/proto";

export interface DamagedFile {
  readonly path: string;
  /** Another block's file. */
  readonly other: string;
  /** Indexes of the block's cached segments. */
  readonly cached: readonly number[];
  readonly geometry: Geometry;
  readonly random: () => number;
}

/** Damages to a block file while no member runs. Each one changes bytes that are verified when the file is read. */
export const damages: Readonly<Record<string, (file: DamagedFile) => void>> = {
  "a bit of data turned over": (file) => {
    changeBytes(file.path, someSegment(file) + below(file.geometry.segmentBytes, file), 1, turnOver(file));
  },
  "a run of data overwritten": (file) => {
    const start = someSegment(file) + below(file.geometry.segmentBytes - 1_000, file);
    changeBytes(file.path, start, 1_000, (byte) => byte + 1);
  },
  "a page of data lost": (file) => changeBytes(file.path, someSegment(file), 4_096, () => 0),
  "a bit of the footer turned over": (file) => {
    changeBytes(file.path, file.geometry.blockBytes + below(FOOTER_BYTES, file), 1, turnOver(file));
  },
  "the footer lost": ({ path, geometry }) => changeBytes(path, geometry.blockBytes, FOOTER_BYTES, () => 0),
  "the file cut short": (file) => truncateSync(file.path, below(file.geometry.blockBytes + FOOTER_BYTES, file)),
  "another block's file in its place": ({ path, other }) => copyFileSync(other, path),
  "something else in its place": ({ path }) => writeFileSync(path, "something else"),
  "another block's name": ({ path }) => renameSync(path, `${path.slice(0, -"0000.blk".length)}0000.blk`),
};

function below(limit: number, { random }: DamagedFile): number {
  return Math.floor(random() * limit);
}

/** Returns the position of the first byte of a cached segment. */
function someSegment(file: DamagedFile): number {
  return file.cached[below(file.cached.length, file)]! * file.geometry.segmentBytes;
}

function turnOver(file: DamagedFile): (byte: number) => number {
  const mask = 1 << below(8, file);
  return (byte) => byte ^ mask;
}

function changeBytes(path: string, start: number, length: number, change: (byte: number) => number): void {
  const file = openSync(path, "r+");
  try {
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, start);
    writeSync(file, bytes.map(change), 0, length, start);
  } finally {
    closeSync(file);
  }
}
