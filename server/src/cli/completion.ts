import { Argument, type Command, type Option } from "commander";
import { completionScripts } from "./completion-scripts.js";

/** A word that may come next, and what it means. */
export interface Completion {
  readonly word: string;
  readonly text: string;
}

/** `frontcache completion`: a script for the shell, which asks the hidden `frontcache complete` what may come next. */
export function addCompletion(program: Command): void {
  const shells = Object.keys(completionScripts) as (keyof typeof completionScripts)[];
  program
    .command("completion")
    .summary("print a shell's completion script")
    .description("Prints a script by which a shell completes commands and options.")
    .addArgument(new Argument("<shell>", "which shell's").choices(shells))
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

/** What may stand in place of the last word. Nothing: a file, or something that only the user knows. */
export function complete(program: Command, words: readonly string[]): Completion[] {
  const help = program.createHelp();
  // bash cuts words at `=` and hands it over as one of its own.
  const typed = words.at(-1) === "=" ? "" : (words.at(-1) ?? "");
  const before = words.slice(0, -1).filter((word) => word !== "=");
  const commands = help.visibleCommands(program);
  const at = before.findIndex((word) => !word.startsWith("-"));
  const command = commands.find((known) => known.name() === before[at]) ?? program;
  const options = help.visibleOptions(command);
  const asked = options.find((option) => takesValue(option) && isNamed(option, before.at(-1)));
  const found = asked === undefined ? next(command, options, typed) : valuesOf(asked);
  return found.filter(({ word }) => word.startsWith(typed));

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

/** An option's value that is one of a few words (`<a|b>`). */
function valuesOf({ flags }: Option): Completion[] {
  const words = /[<[]([\w-]+(?:\|[\w-]+)+)[>\]]/.exec(flags)?.[1]?.split("|") ?? [];
  return words.map((word) => ({ word, text: "" }));
}
