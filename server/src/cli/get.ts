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

/** `frontcache get`: writes an object, or a range of it, to standard output or a file. */
export function addGet(program: Command): void {
  const command = program
    .command("get")
    .summary("read an object through the cache")
    .description(
      "Reads an object, or a range of it, through the cache and writes it to standard output or a file. With -o, an interrupted download resumes when you repeat the command, provided the object has not changed.",
    )
    .argument("<url>", urlForms("bucket/key"))
    .option("--range <range>", "first-last (both inclusive), first- or -count, as in HTTP")
    .option("-o, --output <file>", "write to a file; the file appears when it is complete")
    .option("--no-resume", "start from the beginning, ignore an incomplete download")
    .option("--object-version <version>", "only this version (S3: ETag; GCS: generation)")
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
    throw new UsageError("--json: standard output contains the object itself: set a file with --output");
  }
  await withClient(flags, async (client, signal) => {
    // If the object goes to the terminal, no progress bar is shown.
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
  /** Empty: the current version. */
  readonly version: string;
  readonly bar: ProgressBar;
  readonly signal: AbortSignal;
}

/** The bytes of a range in the object's current version. Throws OUT_OF_RANGE. */
function contentOf(url: string, range: ByteRange, { version, objectSize }: ObjectStat): FileContent {
  const offset = "offset" in range ? range.offset : Math.max(0, objectSize - range.lastBytes);
  const end = Math.min(objectSize, "offset" in range ? offset + (range.length ?? objectSize) : objectSize);
  // An empty object can be read as a whole; any other range past the end is an error.
  if (offset >= objectSize && (offset > 0 || ("length" in range && range.length !== undefined))) {
    throw outOfRange(url, offset, objectSize);
  }
  return { url, version, offset, end };
}

async function toStream({ client, url, range, version, bar, signal }: Getting, output: string | undefined): Promise<void> {
  const requested =
    "offset" in range ? { ...range, version } : lastBytes(url, range, await client.stat(url, version, { signal }));
  let bytes = 0;
  const onBytes = (more: number): void => {
    bytes += more;
    bar.update(bytes, requested.length ?? 0);
  };
  const source = client.stream(url, requested.offset, requested.length, requested.version, { signal });
  await (output === undefined ? toStandardOutput(source, onBytes) : toDevice(source, output, onBytes));
}

/** The last bytes of an object depend on its size, so they are read from the version that has this size. */
function lastBytes(url: string, range: ByteRange, info: ObjectStat): { offset: number; length: number; version: string } {
  const { version, offset, end } = contentOf(url, range, info);
  return { version, offset, length: end - offset };
}

async function toFile(
  { client, url, range, version: requested, bar, signal }: Getting,
  output: string,
  { resume, json = false }: GetFlags,
): Promise<void> {
  const content = contentOf(url, range, await client.stat(url, requested, { signal }));
  const { version, offset, end } = content;
  const file = await PartialFile.open(output, content, resume);
  const resumedBytes = file.bytes;
  try {
    const rest = () => client.stream(url, offset + resumedBytes, end - offset - resumedBytes, version, { signal });
    await file.append(rest, () => bar.update(file.bytes, end - offset));
    await file.finish();
  } catch (error) {
    throw await keepPartial(file, error);
  }
  if (json) printFields({ url, version, offset, bytes: end - offset, resumedBytes, file: output }, { json });
}

/** Keeps the received bytes, unless there are none or their version no longer exists. Returns the error to throw. */
async function keepPartial(file: PartialFile, error: unknown): Promise<unknown> {
  const isOverwritten = error instanceof CacheError && error.code === "FAILED_PRECONDITION";
  if (file.bytes === 0 || isOverwritten) {
    await file.remove();
    return error;
  }
  const reason = error instanceof Error ? error.message : String(error);
  const message = `${reason}; the received bytes are in ${file.partPath}: repeat the command to resume`;
  return error instanceof CacheError
    ? new CacheError(error.code, message, { cause: error })
    : new Error(message, { cause: error });
}
