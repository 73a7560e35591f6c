import { constraintProblems } from "./constraints.js";
import { type Declaration, declarations, type Environment, type Settings, settingNames, variableOf } from "./declarations.js";
import { Problems } from "./mapping-reader.js";

export type { Settings } from "./declarations.js";

/** The values of the given flags, by setting. */
export type GivenFlags = { readonly [Name in keyof Settings]?: string };

/** All invalid settings. The message is one line. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly problems: readonly string[];

  /** `problems`: one clause for each invalid setting, beginning with the flag or variable. */
  constructor(problems: readonly string[]) {
    super(problems.join("; "));
    this.problems = problems;
  }
}

/**
 * Reads settings from flags, then environment variables, then defaults. An empty variable counts as not set, because manifests may
 * contain empty ones; an empty flag is an empty value. A part is never larger than a block. Throws a SettingsError.
 */
export function readSettings(flags: GivenFlags, environment: Environment): Settings {
  const problems: string[] = [];
  const values: Partial<Record<keyof Settings, unknown>> = {};
  for (const name of settingNames) {
    const declaration: Declaration<unknown> = declarations[name];
    const given = sourceOf(declaration, flags[name], environment);
    try {
      values[name] = given.text === undefined ? undefined : declaration.parser.parse(given.text);
    } catch (error) {
      const clauses = error instanceof Problems ? error.clauses : [(error as Error).message];
      problems.push(...clauses.map((clause) => `${given.from}: ${clause}`));
    }
  }
  const { partBytes, blockBytes } = values as Settings;
  if (partBytes > blockBytes) values.partBytes = blockBytes;
  if (problems.length === 0) problems.push(...constraintProblems(values as Settings, environment));
  if (problems.length > 0) throw new SettingsError(problems);
  return Object.freeze(values) as Settings;
}

function sourceOf(
  declaration: Declaration<unknown>,
  flag: string | undefined,
  environment: Environment,
): { text: string | undefined; from: string } {
  const variable = variableOf(declaration);
  if (flag !== undefined) return { text: flag, from: `--${declaration.flag}` };
  if (environment[variable]) return { text: environment[variable], from: variable };
  return { text: declaration.fallback(environment), from: `the default of --${declaration.flag}` };
}

/**
 * The effective settings for a log line, by name. Contains no secret: of the origins only buckets and endpoints, because a key may
 * have been written where the name of a variable belongs.
 */
export function settingsForLog(settings: Settings): Record<string, unknown> {
  const shown = (name: keyof Settings): unknown => {
    const value = settings[name];
    if (name === "origins") return settings.origins?.map(({ buckets, endpoint }) => ({ buckets, endpoint }));
    return value === Number.POSITIVE_INFINITY ? "never" : value;
  };
  return Object.fromEntries(settingNames.map((name) => [name, shown(name)]));
}

/** Our variables that are not settings of `serve`. */
const OTHER_VARIABLES = new Set([
  "FRONTCACHE_ENDPOINT",
  "FRONTCACHE_TOKEN",
  "FRONTCACHE_ACCESS_KEY_ID",
  "FRONTCACHE_SECRET_ACCESS_KEY",
  "FRONTCACHE_SESSION_TOKEN",
  "FRONTCACHE_TLS",
  "FRONTCACHE_TEST_KUBECONFIG",
]);

/** Variables that Kubernetes adds to every pod for a Service whose name begins with frontcache. */
const SERVICE_LINK = /^FRONTCACHE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_\w+)?)$/;

/**
 * Variables that look like settings but are not, probably because of a typing error. They are a warning and not an error,
 * because other programs may use such names.
 */
export function unknownVariables(environment: Environment): string[] {
  const known = new Set(settingNames.map((name) => variableOf(declarations[name])));
  return Object.keys(environment)
    .filter((name) => name.startsWith("FRONTCACHE_") && !known.has(name) && !OTHER_VARIABLES.has(name))
    .filter((name) => !SERVICE_LINK.test(name))
    .sort();
}
