import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { Command, CommanderError } from "commander";
import { packageVersion } from "../config/package-version.js";
import { addBench } from "./bench.js";
import { addCompletion } from "./completion.js";
import { addEvict } from "./evict.js";
import { describeFailure, type ExitCode, exitCodes, exitCodeText, UsageError } from "./exit-code.js";
import { addGet } from "./get.js";
import { addServe } from "./serve.js";
import { addStat } from "./stat.js";
import { addStatus } from "./status.js";
import { addVersion } from "./version.js";
import { addWarm } from "./warm.js";

/**
 * Runs the command that `args` (without the program's name) say, and leaves its exit code in the process. A failure is one line
 * on standard error.
 */
export async function main(args: readonly string[]): Promise<void> {
  // What grpc-js has to say is said by the errors that it reports, too.
  if (process.env.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE);
  process.exitCode = await run(args);
}

async function run(args: readonly string[]): Promise<ExitCode> {
  try {
    await commands().parseAsync(args, { from: "user" });
    return exitCodes.ok.code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok.code;
    const { line, exitCode } = describeFailure(error instanceof CommanderError ? usageOf(error) : error, args.includes("--json"));
    process.stderr.write(`${line}\n`);
    return exitCode;
  }
}

/** All commands; nothing is done before one is parsed. */
export function commands(): Command {
  const program = new Command("frontcache")
    .description("A distributed, pull-through cache for objects in S3 and GCS.")
    .version(packageVersion(), "--version", "show the version")
    .addHelpText(
      "after",
      `
Examples:
  frontcache serve --cache-dirs /mnt/nvme0:800GiB
  frontcache get s3://bucket/file --range 0-99 | xxd
  frontcache warm 's3://bucket/prefix/*'
  frontcache status --watch

Exit codes: ${exitCodeText}.`,
    )
    .helpCommand("help [command]", "show help for a command")
    .helpOption("-h, --help", "show help")
    .exitOverride()
    // Its errors are printed by `run`, like all others.
    .configureOutput({ outputError: () => {} });
  addServe(program);
  addGet(program);
  addStat(program);
  addWarm(program);
  addEvict(program);
  addStatus(program);
  addBench(program);
  addVersion(program);
  addCompletion(program);
  return program;
}

/** Commander's own errors without its prefix; asked for nothing, it prints its help and calls that an error. */
function usageOf(error: CommanderError): UsageError {
  if (error.code === "commander.help") return new UsageError("no command given");
  return new UsageError(error.message.replace(/^error: /, ""));
}
