import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The repository's root. */
export const root = join(import.meta.dirname, "..", "..");

/** The folders of the packages that are published, low to high. */
export const packageFolders = ["proto", "client", "server"] as const;

/** What these tests read of a package.json. */
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

/** The package.json in a folder of the repository; "" is the root's. Throws where there is none. */
export function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
}

/** What these tests read of one entry of package-lock.json. */
export interface LockedPackage {
  readonly license?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
  readonly integrity?: string;
}

/** Every installed package by its place (`node_modules/koffi`) with what the lockfile says of it; the workspaces are left out. */
export function lockedPackages(): Map<string, LockedPackage> {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const all = Object.entries<LockedPackage>(packages);
  return new Map(all.filter(([place, locked]) => place.includes("node_modules/") && locked.link !== true));
}

const SOURCE = /(?<!\.d)\.(?:ts|mjs|cjs|js)$/;
const NOT_OURS = /(?:^|\/)(?:node_modules|dist|gen-)(?:\/|$)/;

/** The source files below a folder of the repository, built and installed ones left out, as paths from that folder. */
export function sourcesIn(folder: string): string[] {
  const paths = readdirSync(join(root, folder), { recursive: true }) as string[];
  return paths.filter((path) => SOURCE.test(path) && !NOT_OURS.test(path));
}

/** Imports, static and dynamic, `import.meta.resolve` and `require`; not `Buffer.from` with its bracket. */
const SPECIFIER =
  /(?:\bfrom\s+|\bimport\s*\(?|\bimport\.meta\.resolve\(|\brequire\(|\bcreateRequire\(import\.meta\.url\)\()"([^"\s]+)"/g;

/** What a source text imports, as it is written there. */
export function importsIn(text: string): string[] {
  return [...text.matchAll(SPECIFIER)].map(([, specifier]) => specifier!);
}

const PACKAGE = /^(?:@[a-z\d-]+\/)?[a-z][\w.-]*/;

/** The package that an import names; undefined for relative imports, Node's own modules and a page's own names. */
export function packageOf(specifier: string): string | undefined {
  return specifier.startsWith("node:") ? undefined : PACKAGE.exec(specifier)?.[0];
}
