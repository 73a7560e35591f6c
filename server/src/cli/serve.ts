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
  const { flag, parser, text, defaultText, repeatable } = declaration;
  const isBool = parser === bool;
  const value = isBool ? `[${parser.unit}]` : `<${parser.unit}>`;
  const option = new Option(
    `--${flag} ${value}`,
    `${text} (environment ${variableOf(declaration)}; default: ${defaultText || "none"})`,
  );
  if (repeatable) option.argParser((one: string, before?: string) => (before === undefined ? one : `${before},${one}`));
  return isBool ? option.preset("true") : option;
}

async function serve(flags: GivenFlags): Promise<void> {
  const settings = readSettings(flags, process.env);
  const log = createLog(settings.logLevel);
  for (const variable of unknownVariables(process.env)) log.warn({ event: "unknown-setting", variable });
  dieOfDefects(log);
  const stop = stopSignal(log);
  const stopped = new Promise((resolve) => stop.addEventListener("abort", resolve, { once: true }));
  const server = await start(settings, log, stop);
  await stopped;
  await server?.close();
  log.info({ event: "stopped" });
}

/** Undefined where a signal came first. */
async function start(settings: Settings, log: Log, stop: AbortSignal): Promise<RunningServer | undefined> {
  // Imported here, for it brings the origins' SDKs, which other commands need not wait for.
  const { startServer } = await import("../server.js");
  try {
    return await startServer(settings, log, stop);
  } catch (error) {
    if (stop.aborted) return undefined;
    throw listenError(error, settings);
  }
}

/** What the system says of an address that can't be listened on, in words that tell what to do; other errors as they are. */
function listenError(error: unknown, { listen, httpListen }: Settings): unknown {
  const { code, port } = error as NodeJS.ErrnoException & { port?: number };
  const isHttp = port === httpListen.port && port !== listen.port;
  const address = formatHostPort(isHttp ? httpListen : listen);
  const other = `choose another address by ${isHttp ? "--http-listen" : "--listen"}`;
  switch (code) {
    case "EADDRINUSE":
      return new Error(`${address} is in use by another process: ${other}`, { cause: error });
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new Error(`${address} is no address of this host: ${other}`, { cause: error });
    case "EACCES":
      return new Error(`${address} may not be listened on by this user: ${other}`, { cause: error });
    default:
      return error;
  }
}

/** Aborted at the first SIGTERM or SIGINT; the next one ends the process with exit code 1. */
function stopSignal(log: Log): AbortSignal {
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(1);
    log.info({ event: "stopping", signal });
    stop.abort();
  };
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  return stop.signal;
}

/** A process that went wrong in a way that nobody foresaw must not go on serving. */
function dieOfDefects(log: Log): void {
  const die = (event: string) => (error: unknown) => {
    log.error({ event, message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exit(1);
  };
  process.on("uncaughtException", die("uncaught-exception")).on("unhandledRejection", die("unhandled-rejection"));
}
