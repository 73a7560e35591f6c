/** Returns whether labels match a selector: `key=value`, `key==value`, `key!=value`, `key` and `!key`, separated by commas. */
export function matches(selector: string, labels: Readonly<Record<string, string>>): boolean {
  return selector
    .split(",")
    .map((term) => term.trim())
    .filter((term) => term !== "")
    .every((term) => {
      const [, key, operator, value] = /^([^=!]+)(=|==|!=)([^=!]*)$/.exec(term) ?? [];
      if (key !== undefined) return (labels[key] === value) === (operator !== "!=");
      return term.startsWith("!") ? !(term.slice(1) in labels) : term in labels;
    });
}
