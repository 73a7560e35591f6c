// Writes proto/src/gen from proto/cache.proto; with --check it only compares and fails where the committed code differs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const proto = import.meta.dirname;
const committed = join(proto, "src", "gen");
const check = process.argv.includes("--check");
const out = check ? mkdtempSync(join(tmpdir(), "frontcache-gen-")) : committed;
const template = {
  version: "v2",
  plugins: [
    {
      local: ["node", join(proto, "..", "node_modules", "ts-proto", "protoc-gen-ts_proto")],
      out,
      opt: [
        "esModuleInterop=true",
        "forceLong=number",
        "outputServices=generic-definitions",
        "env=node",
        "importSuffix=.js",
        "useExactTypes=false",
        "outputJsonMethods=false",
        "removeEnums=true",
      ],
    },
  ],
};
try {
  execFileSync(
    process.execPath,
    [join(proto, "..", "node_modules", "@bufbuild", "buf", "bin", "buf"), "generate", "--template", JSON.stringify(template)],
    {
      cwd: proto,
      stdio: "inherit",
    },
  );
  if (check && readFileSync(join(out, "cache.ts"), "utf8") !== readFileSync(join(committed, "cache.ts"), "utf8")) {
    console.error("proto/src/gen/cache.ts is not what proto/cache.proto generates: run `npm run generate` and commit the result");
    process.exitCode = 1;
  }
} finally {
  if (check) rmSync(out, { recursive: true });
}
