import { parseDocument } from "yaml";

/** Parses a YAML document. Problems are added to `noted`, one clause each; then the result is undefined. An empty document is null. */
export function readYaml(content: string, noted: string[]): unknown {
  const document = parseDocument(content, { prettyErrors: true });
  for (const { message } of document.errors) {
    noted.push(message.split("\n")[0]!.replaceAll("\r", "\\r").replace(/:$/, ""));
  }
  if (noted.length > 0) return undefined;
  try {
    return document.toJS();
  } catch (error) {
    // A missing anchor of an alias is found only here.
    noted.push(`${JSON.stringify((error as Error).message)}: do not use aliases`);
    return undefined;
  }
}
