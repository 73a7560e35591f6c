# Sourced by clients that are programs: reports all files below a folder as objects.
report_files() {
  node -e '
    const { readdirSync, readFileSync } = require("node:fs");
    const { join, relative } = require("node:path");
    const { createHash } = require("node:crypto");
    for (const entry of readdirSync(process.argv[1], { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = join(entry.parentPath ?? entry.path, entry.name);
      const bytes = readFileSync(file);
      const md5 = createHash("md5").update(bytes).digest("hex");
      console.log(JSON.stringify({ key: relative(process.argv[1], file), size: bytes.length, md5 }));
    }' "$1"
}
