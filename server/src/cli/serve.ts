import { type Command, Option } from "commander";
import { formatHostPort } from "../config/addresses.js";
import { type Declaration, declarations, settingNames, variableOf } from "../config/declarations.js";
import { bool } from "../config/parser.js";
import { type GivenFlags, readSettings, type Settings, unknownVariables } from "../config/settings.js";
import { createLog, type Log } from "../runtime/log.js";
import type { RunningServer } from "../server.js";

/** `frontcache serve`: one member, until a signal ends it. Its flags are the declared settings. */
export function addServe(program: Command): void {
  const command = program
    .command("serve")
    .summary("run one member of the cache")
    .description(
      "Runs one member of the cache until SIGTERM or SIGINT, which let running reads finish; a second signal ends it at once.",
    );
  const options = settingNames.map((name) => [name, optionOf(declarations[name])] as const);
  for (const [, option] of options) command.addOption(option);
  command.action(async (given: Readonly<Record<string, string | undefined>>) => {
    const flags = options.map(([name, option]) => [name, given[option.attributeName()]] as const);
    await serve(Object.fromEntries(flags.filter(([, text]) => text !== undefined)));
  });
}

function optionOf(declaration: Declaration<unknown>): Option {
  const { flag, parser, text, defaultText } = declaration;
  const isBool = parser === bool;
  const value = isBool ? `[${parser.unit}]` : `<${parser.unit}>`;
  const option = new Option(
    `--${flag} ${value}`,
    `${text} (environment ${variableOf(declaration)}; default: ${defaultText || "none"})`,
  );
  return isBool ? option.preset("true") : option;
}

async function serve(flags: GivenFlags): Promise<void> {
  const settings = readSettings(flags, process.env);
  const log = createLog(settings.logLevel);
  for (const variable of unknownVariables(process.env)) log.warn({ event: "unknown-setting", variable });
  dieOfDefects(log);
  const stopped = stopSignal(log);
  const server = await start(settings, log);
  await stopped;
  await server.close();
  log.info({ event: "stopped" });
}

async function start(settings: Settings, log: Log): Promise<RunningServer> {
  // Imported here, for it brings the origins' SDKs, which other commands need not wait for.
  const { startServer } = await import("../server.js");
  try {
    return await startServer(settings, log);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const address = formatHostPort(settings.listen);
    const other = "choose another address by --listen";
    if (code === "EADDRINUSE") throw new Error(`${address} is in use by another process: ${other}`, { cause: error });
    if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
      throw new Error(`${address} is no address of this host: ${other}`, { cause: error });
    throw error;
  }
}

/** Resolves at the first SIGTERM or SIGINT; the next one ends the process with exit code 1. */
function stopSignal(log: Log): Promise<void> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals): void => {
      log.info({ event: "stopping", signal });
      for (const each of ["SIGTERM", "SIGINT"] as const) process.off(each, onSignal).on(each, () => process.exit(1));
      resolve();
    };
    process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  });
}

/** A process that went wrong in a way that nobody foresaw must not go on serving. */
function dieOfDefects(log: Log): void {
  const die = (event: string) => (error: unknown) => {
    log.error({ event, message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exit(1);
  };
  process.on("uncaughtException", die("uncaught-exception")).on("unhandledRejection", die("unhandled-rejection"));
}
