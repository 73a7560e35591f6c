# Sourced by clients that are programs: reports all files below a folder as objects.
report_files() {
  (cd "$1" && find . -type f -print0) | while IFS= read -r -d '' file; do
    key=${file#./}
    KEY=$key FILE=$1/$key node -e '
      const bytes = require("node:fs").readFileSync(process.env.FILE);
      const md5 = require("node:crypto").createHash("md5").update(bytes).digest("hex");
      console.log(JSON.stringify({ key: process.env.KEY, size: bytes.length, md5 }));'
  done
}
