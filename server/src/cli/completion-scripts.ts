/** The command that prints completions: `frontcache complete -- words...`; the last word is the one being typed. */
const ask = "frontcache complete --";

/**
 * Completion scripts by shell. They pass the typed words unchanged, never evaluate them, and complete file names if there are no
 * other completions.
 */
export const completionScripts = {
  bash: `_frontcache() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(${ask} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _frontcache frontcache
`,
  zsh: `#compdef frontcache
_frontcache() {
  local -a answers
  local line
  for line in "\${(@f)$(${ask} "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] && answers+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  if (( $#answers )); then _describe frontcache answers; else _files; fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _frontcache "$@"; else compdef _frontcache frontcache; fi
`,
  fish: `function __frontcache_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l answers (${ask} $words[2..-1] "$current" 2>/dev/null)
  if test (count $answers) -gt 0
    printf '%s\\n' $answers
  else
    __fish_complete_path "$current"
  end
end
complete -c frontcache -f -a '(__frontcache_complete)'
`,
} as const;
