import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { Command, CommanderError, Help } from "commander";
import { packageVersion } from "../config/package-version.js";
import { addBench } from "./bench.js";
import { addClientOptions } from "./client-options.js";
import { addCompletion } from "./completion.js";
import { addCopy } from "./cp.js";
import { addEvict } from "./evict.js";
import { describeFailure, type ExitCode, exitCodes, exitCodeText, UsageError } from "./exit-code.js";
import { addGet } from "./get.js";
import { addGrants } from "./grants.js";
import { addList } from "./ls.js";
import { addJsonOption } from "./print.js";
import { addPut } from "./put.js";
import { addRemove } from "./rm.js";
import { addServe } from "./serve.js";
import { addStat } from "./stat.js";
import { addStatus } from "./status.js";
import { addVersion } from "./version.js";
import { addWarm } from "./warm.js";

/**
 * Runs the command in `args` (without the name of the program) and sets the exit code of the process. A failure is one line on
 * standard error.
 */
export async function main(args: readonly string[]): Promise<void> {
  // The errors of grpc-js contain what it logs.
  if (process.env.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE);
  // Users cannot act on deprecated calls inside our dependencies, such as TLS to an IP address by grpc-js (DEP0123).
  if (!process.traceDeprecation && !process.throwDeprecation) process.noDeprecation = true;
  process.stdout.on("error", endOfConsumer);
  process.exitCode = await runCommand(args);
}

/** A consumer that closes the pipe (`| head`) needs no more output. Logs of members do not go through this stream. */
function endOfConsumer(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit(exitCodes.ok.code);
}

/** Runs the command in `args`; resolves with its exit code. A failure is one line on standard error. */
export async function runCommand(args: readonly string[]): Promise<ExitCode> {
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

/** All commands. */
export function commands(): Command {
  const program: Command = new Command("frontcache");
  program
    .description("A distributed, pull-through cache for objects in S3 and GCS.")
    .version(packageVersion(), "--version", "show the version")
    .addHelpText(
      "after",
      `
Examples:
  frontcache serve --cache-dirs /mnt/nvme0:800GiB
  frontcache get s3://bucket/file --range 0-99 | xxd
  frontcache put file s3://bucket/
  frontcache warm 's3://bucket/prefix/*'
  frontcache status --watch

Exit codes: ${exitCodeText}.`,
    )
    .helpCommand("help [command]", "show help for a command")
    .helpOption("-h, --help", "show help")
    .configureHelp({ formatHelp: withCommandsFirst })
    .enablePositionalOptions()
    .hook("preAction", (_, command) => giveGlobalOptions(program, command))
    .exitOverride()
    // `runCommand` prints its errors.
    .configureOutput({ outputError: () => {} });
  addJsonOption(addClientOptions(program));
  addServe(program);
  addGet(program);
  addPut(program);
  addList(program);
  addCopy(program);
  addRemove(program);
  addStat(program);
  addWarm(program);
  addEvict(program);
  addStatus(program);
  addGrants(program);
  addBench(program);
  addVersion(program);
  addCompletion(program);
  return program;
}

/** Lists the commands before the options, which commands that connect to a member share. */
function withCommandsFirst(command: Command, help: Help): string {
  const sections = Help.prototype.formatHelp.call(help, command, help).trimEnd().split("\n\n");
  const commands = sections.findIndex((section) => section.startsWith("Commands:"));
  const options = sections.findIndex((section) => section.startsWith("Options:"));
  if (commands > options) sections.splice(options, 0, ...sections.splice(commands, 1));
  return `${sections.join("\n\n")}\n`;
}

/** Gives a command the options written before its name. An option after the name wins. Throws a UsageError for an unknown one. */
function giveGlobalOptions(program: Command, command: Command): void {
  for (const option of program.options) {
    const name = option.attributeName();
    const value: unknown = program.getOptionValue(name);
    if (value === undefined) continue;
    if (!command.options.some((known) => known.attributeName() === name))
      throw new UsageError(`${option.long} is not an option of ${command.name()}`);
    if (command.getOptionValue(name) === undefined) command.setOptionValue(name, value);
  }
}

/** Converts Commander's errors. Without a command, Commander prints its help and throws. */
function usageOf(error: CommanderError): UsageError {
  if (error.code === "commander.help") return new UsageError("no command given");
  return new UsageError(error.message.replace(/^error: /, ""));
}
