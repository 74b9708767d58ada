# fish completion of macvfast: macvfast completion fish | source
complete -c macvfast -f -a '(macvfast __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
