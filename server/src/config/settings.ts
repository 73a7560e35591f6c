import { constraintProblems } from "./constraints.js";
import { type Declaration, declarations, type Environment, type Settings, settingNames, variableOf } from "./declarations.js";
import { Problems } from "./mapping-reader.js";

export type { Settings } from "./declarations.js";

/** Texts of the flags that were given, by setting. */
export type GivenFlags = { readonly [Name in keyof Settings]?: string };

/** Wrong settings, all of them: its message is one line. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";

  /** `problems`: one clause for each wrong setting, beginning with where it was set. */
  constructor(readonly problems: readonly string[]) {
    super(problems.join("; "));
  }
}

/**
 * Settings from flags, else environment variables, else defaults. A variable that is set to nothing counts as not set, as
 * manifests leave it; a flag that is given nothing is read as that. Throws a SettingsError.
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

/** Variables of ours that are no setting of `serve`. */
const OTHER_VARIABLES = new Set(["FRONTCACHE_ENDPOINT", "FRONTCACHE_TOKEN", "FRONTCACHE_TLS", "FRONTCACHE_TEST_KUBECONFIG"]);

/** What Kubernetes puts into every pod's environment for a Service whose name begins with frontcache. */
const SERVICE_LINK = /^FRONTCACHE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_\w+)?)$/;

/**
 * Variables that look like settings and are none: most likely misspelt, so that they deserve a warning. They are no error,
 * because others may name theirs alike.
 */
export function unknownVariables(environment: Environment): string[] {
  const known = new Set(settingNames.map((name) => variableOf(declarations[name])));
  return Object.keys(environment)
    .filter((name) => name.startsWith("FRONTCACHE_") && !known.has(name) && !OTHER_VARIABLES.has(name))
    .filter((name) => !SERVICE_LINK.test(name))
    .sort();
}
