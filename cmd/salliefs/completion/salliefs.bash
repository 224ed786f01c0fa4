# bash completion for salliefs

_salliefs() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") given
  COMPREPLY=()
  case ${COMP_WORDS[COMP_CWORD-1]} in
    -s|--store|--password-file|--new-password-file|--recovery-file|--log-file|--file)
      compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
  esac
  [[ $cur == -* ]] && words+=("$cur")
  mapfile -t given < <(salliefs "${words[@]}" --generate-bash-completion 2>/dev/null)
  mapfile -t COMPREPLY < <(compgen -W "${given[*]}" -- "$cur")
  if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
    compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  fi
}

complete -F _salliefs salliefs
