# fish completion for salliefs

function __salliefs_given
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -e words[1]
    string match -q -- '-*' $cur; and set -a words $cur
    salliefs $words --generate-bash-completion 2>/dev/null
end

complete -c salliefs -a '(__salliefs_given)'
complete -c salliefs -l store -s s -r -F
for flag in password-file new-password-file recovery-file log-file file
    complete -c salliefs -l $flag -r -F
end
