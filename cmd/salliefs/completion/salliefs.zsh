#compdef salliefs
# zsh completion for salliefs

_salliefs() {
  local cur=${words[CURRENT]} prev=${words[CURRENT-1]}
  local -a given asked
  case $prev in
    -s|--store|--password-file|--new-password-file|--recovery-file|--log-file|--file) _files; return ;;
  esac
  asked=("${(@)words[2,CURRENT-1]}")
  [[ $cur == -* ]] && asked+=("$cur")
  given=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 salliefs "${asked[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n ${given[1]} ]]; then
    _describe 'salliefs' given
  else
    _files
  fi
}

if [[ $funcstack[1] == _salliefs ]]; then
  _salliefs "$@"
else
  compdef _salliefs salliefs
fi
