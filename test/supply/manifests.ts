import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The repository's root. */
export const root = join(import.meta.dirname, "..", "..");

/** The folders of the published packages, low to high. */
export const packageFolders = ["proto", "client", "server"] as const;

/** The fields of a package.json that these tests read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** Reads the package.json in a folder of the repository; "" is the root. Throws if it is missing. */
export function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
}

/** The fields of an entry of package-lock.json that these tests read. */
export interface LockedPackage {
  readonly license?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
  readonly integrity?: string;
}

/** Returns the lockfile's entry of every installed package by its path (`node_modules/koffi`), without workspaces. */
export function lockedPackages(): Map<string, LockedPackage> {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const all = Object.entries<LockedPackage>(packages);
  return new Map(all.filter(([place, locked]) => place.includes("node_modules/") && locked.link !== true));
}

const SOURCE = /(?<!\.d)\.(?:ts|mjs|cjs|js)$/;
const NOT_OURS = /(?:^|\/)(?:node_modules|dist|gen-)(?:\/|$)/;

/** Returns the source files below a folder, without built and installed files, as paths relative to the folder. */
export function sourcesIn(folder: string): string[] {
  const paths = readdirSync(join(root, folder), { recursive: true }) as string[];
  return paths.filter((path) => SOURCE.test(path) && !NOT_OURS.test(path));
}

/** Static and dynamic imports, `import.meta.resolve` and `require`; does not match `Buffer.from(`. */
const SPECIFIER =
  /(?:\bfrom\s+|\bimport\s*\(?|\bimport\.meta\.resolve\(|\brequire\(|\bcreateRequire\(import\.meta\.url\)\()"([^"\s]+)"/g;

/** Returns the import specifiers of a source text. */
export function importsIn(text: string): string[] {
  return [...text.matchAll(SPECIFIER)].map(([, specifier]) => specifier!);
}

const PACKAGE = /^(?:@[a-z\d-]+\/)?[a-z][\w.-]*/;

/** Returns the package of an import specifier; undefined for relative imports, Node's modules and import maps. */
export function packageOf(specifier: string): string | undefined {
  return specifier.startsWith("node:") ? undefined : PACKAGE.exec(specifier)?.[0];
}
