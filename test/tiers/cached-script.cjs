// Loads a bundled CommonJS program with the code that V8 compiled for it before, as `module.enableCompileCache` does from Node 22 on.
// Without code, or with code of another V8 or of other flags, V8 compiles the program itself.
const { readFileSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { dirname } = require("node:path");
const { Script } = require("node:vm");

/** Resolves with the exports of the program in the file. If FRONTCACHE_TEST_WRITE_CODE is set, saves its code when the process exits. */
exports.load = async (filename) => {
  const codeFile = `${filename}.code`;
  const isWriter = process.env.FRONTCACHE_TEST_WRITE_CODE !== undefined;
  const script = new Script(
    // The bundle is ASCII.
    `(function (exports, require, module, __filename, __dirname, importPackage) {${readFileSync(filename, "latin1")}\n})`,
    { filename, cachedData: isWriter ? undefined : readFileSync(codeFile) },
  );
  const module = { exports: {} };
  const importPackage = (name) => import(name);
  script.runInThisContext()(module.exports, createRequire(filename), module, filename, dirname(filename), importPackage);
  // Functions that have run meanwhile are part of the code.
  if (isWriter) process.once("exit", () => writeFileSync(codeFile, script.createCachedData()));
  return module.exports;
};
