import type { CacheClient, ObjectStat } from "@frontcache/client";
import { CacheError, outOfRange, urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { type ByteRange, parseByteRange } from "./byte-range.js";
import { addClientOptions, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { UsageError } from "./exit-code.js";
import { isDevice, toDevice, toStandardOutput } from "./file-output.js";
import { type FileContent, PartialFile } from "./partial-file.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";
import { openProgressBar, type ProgressBar } from "./progress-bar.js";

interface GetFlags extends ClientFlags, JsonFlags {
  readonly range?: string;
  readonly output?: string;
  readonly objectVersion?: string;
  readonly resume: boolean;
}

/** `frontcache get`: an object, or a range of it, to standard output or a file. */
export function addGet(program: Command): void {
  const command = program
    .command("get")
    .summary("read an object through the cache")
    .description(
      "Reads an object, or a range of it, through the cache, to standard output or a file. A file that could not be completed is gone on with by the same command, as long as the object is of the same version.",
    )
    .argument("<url>", urlForms("bucket/key"))
    .option("--range <range>", "first-last (both inclusive), first- or -count, as in HTTP")
    .option("-o, --output <file>", "write to a file, which appears when it is complete")
    .option("--no-resume", "begin anew, whatever an earlier try left")
    .option("--object-version <version>", "only this version (S3: the ETag; GCS: the generation)")
    .addHelpText(
      "after",
      `
Examples:
  frontcache get s3://models/weights.bin -o weights.bin
  frontcache get s3://datasets/events.parquet --range -8 | xxd`,
    );
  addJsonOption(addClientOptions(command)).action(get);
}

async function get(url: string, flags: GetFlags): Promise<void> {
  checkUrl(url);
  const range = parseByteRange(flags.range ?? "0-");
  const { output } = flags;
  if (flags.json && output === undefined) {
    throw new UsageError("--json: the object itself goes to standard output: name a file by --output");
  }
  await withClient(flags, async (client, signal) => {
    // Standard output on a terminal has no room for a bar.
    const bar = openProgressBar(process.stderr, output !== undefined || !process.stdout.isTTY);
    const getting = { client, url, range, version: flags.objectVersion ?? "", bar, signal };
    await (output === undefined || isDevice(output) ? toStream(getting, output) : toFile(getting, output, flags)).finally(() =>
      bar.end(),
    );
  });
}

interface Getting {
  readonly client: CacheClient;
  readonly url: string;
  readonly range: ByteRange;
  /** Empty: the current one. */
  readonly version: string;
  readonly bar: ProgressBar;
  readonly signal: AbortSignal;
}

/** Where a range lies in the object as it is now. Throws OUT_OF_RANGE. */
function contentOf(url: string, range: ByteRange, { version, objectSize }: ObjectStat): FileContent {
  const offset = "offset" in range ? range.offset : Math.max(0, objectSize - range.lastBytes);
  const end = Math.min(objectSize, "offset" in range ? offset + (range.length ?? objectSize) : objectSize);
  // The whole of an empty object is no bytes; any other range behind the end is a mistake.
  if (offset >= objectSize && (offset > 0 || ("length" in range && range.length !== undefined))) {
    throw outOfRange(url, offset, objectSize);
  }
  return { url, version, offset, end };
}

async function toStream({ client, url, range, version, bar, signal }: Getting, output: string | undefined): Promise<void> {
  const wanted = "offset" in range ? { ...range, version } : lastBytes(url, range, await client.stat(url, version, { signal }));
  let bytes = 0;
  const onBytes = (more: number): void => {
    bytes += more;
    bar.update(bytes, wanted.length ?? 0);
  };
  const source = client.stream(url, wanted.offset, wanted.length, wanted.version, { signal });
  await (output === undefined ? toStandardOutput(source, onBytes) : toDevice(source, output, onBytes));
}

/** The last bytes of an object are found by its size, and are of the version that had this size. */
function lastBytes(url: string, range: ByteRange, info: ObjectStat): { offset: number; length: number; version: string } {
  const { version, offset, end } = contentOf(url, range, info);
  return { version, offset, length: end - offset };
}

async function toFile(
  { client, url, range, version: wanted, bar, signal }: Getting,
  output: string,
  { resume, json = false }: GetFlags,
): Promise<void> {
  const content = contentOf(url, range, await client.stat(url, wanted, { signal }));
  const { version, offset, end } = content;
  const file = await PartialFile.open(output, content, resume);
  const resumedBytes = file.bytes;
  try {
    const rest = () => client.stream(url, offset + resumedBytes, end - offset - resumedBytes, version, { signal });
    await file.append(rest, () => bar.update(file.bytes, end - offset));
    await file.finish();
  } catch (error) {
    throw await left(file, error);
  }
  if (json) printFields({ url, version, offset, bytes: end - offset, resumedBytes, file: output }, { json });
}

/** Keeps what came, unless it is nothing, or of a version that is gone; the error says so. */
async function left(file: PartialFile, error: unknown): Promise<unknown> {
  const gone = error instanceof CacheError && error.code === "FAILED_PRECONDITION";
  if (file.bytes === 0 || gone) {
    await file.remove();
    return error;
  }
  const reason = error instanceof Error ? error.message : String(error);
  const message = `${reason}; what came is in ${file.partPath}: the same command goes on from there`;
  return error instanceof CacheError
    ? new CacheError(error.code, message, { cause: error })
    : new Error(message, { cause: error });
}
