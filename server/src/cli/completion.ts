import { Argument, type Command, type Option } from "commander";
import { completionScripts } from "./completion-scripts.js";

/** A possible next word, and its description. */
export interface Completion {
  readonly word: string;
  readonly text: string;
}

/** `frontcache completion`: prints a shell script, which calls the hidden `frontcache complete` for the possible next words. */
export function addCompletion(program: Command): void {
  const shells = Object.keys(completionScripts) as (keyof typeof completionScripts)[];
  program
    .command("completion")
    .summary("print a completion script for a shell")
    .description("Prints a script with which a shell completes commands and options.")
    .addArgument(new Argument("<shell>", "name of the shell").choices(shells))
    .addHelpText(
      "after",
      `
Examples:
  source <(frontcache completion bash)
  frontcache completion zsh > ~/.zsh/completions/_frontcache
  frontcache completion fish > ~/.config/fish/completions/frontcache.fish`,
    )
    .action((shell: (typeof shells)[number]) => void process.stdout.write(completionScripts[shell]));
  program
    .command("complete", { hidden: true })
    .argument("[words...]")
    .action((words: string[]) => {
      for (const { word, text } of complete(program, words)) process.stdout.write(`${word}\t${text}\n`);
    });
}

/** Returns the words that can complete the last one. Empty: a file, or a free value. */
export function complete(program: Command, words: readonly string[]): Completion[] {
  const help = program.createHelp();
  // bash splits words at `=` and passes it as a word.
  const typed = words.at(-1) === "=" ? "" : (words.at(-1) ?? "");
  const before = words.slice(0, -1).filter((word) => word !== "=");
  const commands = help.visibleCommands(program);
  const at = before.findIndex((word, index) => !word.startsWith("-") && !isValue(before[index - 1]));
  const command = commands.find((known) => known.name() === before[at]) ?? program;
  const options = help.visibleOptions(command);
  const option = options.find((each) => takesValue(each) && isNamed(each, before.at(-1)));
  const found = option === undefined ? next(command, options, typed) : valuesOf(option);
  return found.filter(({ word }) => word.startsWith(typed));

  /** Whether the word after this one is the value of a global option. */
  function isValue(word: string | undefined): boolean {
    return program.options.some((each) => takesValue(each) && isNamed(each, word));
  }

  function next(of: Command, known: readonly Option[], word: string): Completion[] {
    if (word.startsWith("-")) return known.map(({ long, description }) => ({ word: long ?? "", text: description }));
    if (of === program) return commands.map((one) => ({ word: one.name(), text: one.summary() || one.description() }));
    const choices = of.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
    return choices.map((choice) => ({ word: choice, text: "" }));
  }
}

function isNamed({ short, long }: Option, word: string | undefined): boolean {
  return word !== undefined && (word === short || word === long);
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional;
}

/** The values of an option with a fixed set of values (`<a|b>`). */
function valuesOf({ flags }: Option): Completion[] {
  const words = /[<[]([\w-]+(?:\|[\w-]+)+)[>\]]/.exec(flags)?.[1]?.split("|") ?? [];
  return words.map((word) => ({ word, text: "" }));
}
