import { dirname } from "node:path";
import { whenAborted } from "@frontcache/proto/runtime";
import { type Command, type Help, Option } from "commander";
import type { RunningServer } from "../composition/server.js";
import { type Declaration, declarations, settingNames, variableOf } from "../config/declarations.js";
import { formatListenAddress, type ListenAddress } from "../config/listen-address.js";
import { packageVersion } from "../config/package-version.js";
import { bool } from "../config/parser.js";
import { type GivenFlags, readSettings, type Settings, settingsForLog, unknownVariables } from "../config/settings.js";
import { createLog, type Log } from "../runtime/log.js";
import { logProcessWarnings } from "../runtime/process-warnings.js";
import { exitCodes } from "./exit-code.js";

/** `frontcache serve`: runs one member until a signal. Its flags are the declared settings. */
export function addServe(program: Command): void {
  const command = program
    .command("serve")
    .summary("run one member of the cache")
    .description(
      "Runs one member of the cache until SIGTERM or SIGINT. Running reads then finish; a second signal stops the member at once.",
    );
  const options = settingNames.map((name) => [name, optionOf(declarations[name])] as const);
  for (const [, option] of options) command.addOption(option);
  command.configureHelp({ formatItem: belowItsTerm });
  command.action(async (given: Readonly<Record<string, string | undefined>>) => {
    const flags = options.map(([name, option]) => [name, given[option.attributeName()]] as const);
    await serve(Object.fromEntries(flags.filter(([, text]) => text !== undefined)));
  });
}

/** Descriptions stand below their flags: beside the longest flag they would have no room on a terminal of 80 columns. */
function belowItsTerm(term: string, _: number, description: string, help: Help): string {
  const text = help.boxWrap(description, (help.helpWidth ?? 80) - 6);
  return `  ${term}\n      ${text.replaceAll("\n", "\n      ")}`;
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
  const { version } = process;
  log.info(
    { event: "starting", version: packageVersion(), node: version, settings: settingsForLog(settings) },
    `frontcache ${packageVersion()} starts`,
  );
  for (const variable of unknownVariables(process.env))
    log.warn({ event: "unknown-setting", variable }, `${variable} is not a setting: it has no effect`);
  exitOnDefects(log);
  logProcessWarnings(log);
  const stop = stopSignal(log);
  const stopped = new Promise<void>((resolve) => void whenAborted(stop, resolve));
  const starting = start(settings, log, stop);
  await Promise.race([starting, stopped]);
  await stopped;
  if (!(await endsWithin(starting, ABANDON_START_MS))) {
    log.warn({ event: "start-abandoned" }, "the start did not end in time, a volume may hang: exiting");
    log.info({ event: "stopped" }, "the member has stopped");
    process.exit(exitCodes.ok.code);
  }
  await (await starting)?.close();
  log.info({ event: "stopped" }, "the member has stopped");
}

/** Maximum time for a start to end after a signal, because an operation on a hung volume never ends. */
const ABANDON_START_MS = 2_000;

/** Returns whether a promise is fulfilled within `ms`. Rejects if the promise rejects first. */
async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  return Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer));
}

/** Undefined if a signal arrived first. */
async function start(settings: Settings, log: Log, stop: AbortSignal): Promise<RunningServer | undefined> {
  // Imported here, because it loads the SDKs of the origins, which other commands do not need.
  const { startServer } = await import("../composition/server.js");
  try {
    return await startServer(settings, process.env, log, stop);
  } catch (error) {
    if (stop.aborted) return undefined;
    throw listenError(error, settings);
  }
}

/**
 * Converts the system's error for an unusable listen address to a message that says what to do; returns other errors unchanged.
 */
function listenError(error: unknown, { listen, httpListen, s3Listen, elcacheListen, filestoreListen }: Settings): unknown {
  const failed = error as ListenError;
  const listeners = [
    { flag: "--listen", at: listen },
    { flag: "--http-listen", at: httpListen },
    ...(s3Listen === undefined || s3Listen === "none" ? [] : [{ flag: "--s3-listen", at: s3Listen }]),
    { flag: "--elcache-listen", at: elcacheListen ?? {} },
    { flag: "--filestore-listen", at: filestoreListen ?? {} },
  ];
  const found = listeners.find(({ at }) => isAbout(failed, at));
  if (found === undefined) return error;
  const { flag, at } = found;
  const address = formatListenAddress(at);
  const other = `set another address with ${flag}`;
  switch (failed.code) {
    case "EADDRINUSE":
      return new Error(`${address} is in use by another process: ${other}`, { cause: error });
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new Error(`${address} is not an address of this host: ${other}`, { cause: error });
    case "ENOENT":
      return new Error(`${address} cannot be created, because its directory does not exist: create it, or ${other}`, {
        cause: error,
      });
    case "EACCES":
      return new Error(`${address} cannot be listened on by this user: ${other}`, { cause: error });
    default:
      return error;
  }
}

type ListenError = NodeJS.ErrnoException & { readonly port?: number; readonly address?: string; readonly hostname?: string };

/**
 * Whether an error of listening names the port, the host or the Unix socket of a listener. The socket is first bound to a name beside it.
 */
function isAbout({ port, address, hostname }: ListenError, { tcp, socketPath }: ListenAddress): boolean {
  if (tcp !== undefined && (tcp.port === port || tcp.host === hostname)) return true;
  return socketPath !== undefined && [socketPath, `${socketPath}.${process.pid}`, dirname(socketPath)].includes(address ?? "");
}

/** Aborts at the first SIGTERM or SIGINT; the next one ends the process with exit code 1. */
function stopSignal(log: Log): AbortSignal {
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(1);
    log.info({ event: "stopping", signal }, `the member shuts down after ${signal}`);
    stop.abort();
  };
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  return stop.signal;
}

/** Ends the process after an unexpected error, because its state is unknown. */
function exitOnDefects(log: Log): void {
  const exit = (event: string) => (error: unknown) => {
    log.error({ event }, error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.exit(1);
  };
  process.on("uncaughtException", exit("uncaught-exception")).on("unhandledRejection", exit("unhandled-rejection"));
}
