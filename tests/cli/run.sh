#!/bin/bash
# run.sh BIN_DIR SOURCE_DIR CASES.t [--valgrind]: runs the commands of a case file in an empty folder and
# compares what they print and how they exit. A case file has lines
#
#   # ...     a comment
#   - COMMAND preparation or check: has to exit with 0
#   $ COMMAND a case: what follows is expected of it
#   > TEXT    the next line of standard output; `*' stands for any characters
#   > ...     any number of lines
#   ! TEXT    the same for standard error
#   = STATUS  the exit status; 0 when there is no such line
#
# Without > (or !) lines standard output (or standard error) has to be empty. With --valgrind the commands
# run under it and must make no error and lose no memory. Exit status 77: skipped.
set -u
bin=$(realpath "$1") source=$(realpath "$2") cases=$(realpath "$3") valgrind=${4:-}
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/work"
here=$(dirname "$(realpath "$0")")
tools='ed-bench ed-calibrate ed-eval ed-inspect ed-qat ed-run ed-transform'

if [ -n "$valgrind" ]; then
    command -v valgrind > /dev/null || { echo "skipped: there is no valgrind"; exit 77; }
    for tool in $tools; do
        printf '#!/bin/sh\nexec valgrind -q --error-exitcode=99 --leak-check=full %s%s\n' \
            "--errors-for-leak-kinds=definite --suppressions=$here/valgrind.supp " \
            "--log-file=$folder/valgrind.%p $bin/$tool \"\$@\"" > "$folder/bin/$tool"
        chmod +x "$folder/bin/$tool"
    done
else
    for tool in $tools; do
        ln -s "$bin/$tool" "$folder/bin/"
    done
fi
export PATH="$folder/bin:$PATH" SOURCE="$source" COLUMNS=80 OMP_WAIT_POLICY=passive
export PYTHON="${PYTHON:-python3}" LC_ALL=C.UTF-8 TERM=dumb
export ED_BACKEND_DIR=/none # the cases tell of a machine without the CUDA backend
cd "$folder/work" || exit 1

"$PYTHON" -c 'import h5py, onnx, numpy' 2> /dev/null ||
    { echo "skipped: $PYTHON has no h5py, onnx and numpy"; exit 77; }
"$PYTHON" "$here/make_inputs.py" . || exit 1

# matches FILE PATTERN...: do the lines of the file fit the patterns?
matches() {
    local -a lines
    mapfile -t lines < "$1"
    shift
    fits lines 0 "$@"
}
fits() {
    local -n all=$1
    local at=$2 pattern
    shift 2
    while [ $# -gt 0 ]; do
        if [ "$1" = ... ]; then
            shift
            while [ "$at" -le ${#all[@]} ]; do
                (fits "${!all}" "$at" "$@") && return 0
                at=$((at + 1))
            done
            return 1
        fi
        [ "$at" -lt ${#all[@]} ] || return 1
        pattern=${1//\\/\\\\}
        pattern=${pattern//\[/\\[}
        pattern=${pattern//\?/\\?}
        # shellcheck disable=SC2053
        [[ ${all[at]} == $pattern ]] || return 1
        at=$((at + 1))
        shift
    done
    [ "$at" -eq ${#all[@]} ]
}

failures=0 count=0
complain() {
    failures=$((failures + 1))
    printf '\n%s:%d: %s\n  $ %s\n' "$(basename "$cases")" "$line_number" "$1" "$command"
    printf -- '--- stdout\n'; cat "$folder/out"
    printf -- '--- stderr\n'; cat "$folder/err"
    printf -- '--- status %s\n' "$got"
}

command='' line_number=0
finish_case() {
    [ -n "$command" ] || return
    count=$((count + 1))
    bash -c "$command" > "$folder/out" 2> "$folder/err" < /dev/null
    got=$?
    if [ "$got" != "$status" ]; then
        complain "exit status $got, expected $status"
    elif ! matches "$folder/out" "${out[@]}"; then
        complain "standard output differs"
    elif ! matches "$folder/err" "${err[@]}"; then
        complain "standard error differs"
    fi
    command=''
}
begin() {
    command=$1 status=0 out=() err=()
}

number=0
while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    case $line in
    '#'* | '') ;;
    '- '*)
        finish_case
        bash -e -c "${line#- }" > "$folder/out" 2> "$folder/err" < /dev/null || {
            got=$? command=${line#- } line_number=$number
            complain "a step failed"
            command=''
        }
        ;;
    '$ '*) finish_case; begin "${line#\$ }"; line_number=$number ;;
    '> '* | '>') line=${line#>}; out+=("${line# }") ;;
    '! '* | '!') line=${line#!}; err+=("${line# }") ;;
    '= '*) status=${line#= } ;;
    *) echo "$cases:$number: what is this? $line"; failures=$((failures + 1)) ;;
    esac
done < "$cases"
finish_case
for log in "$folder"/valgrind.*; do
    [ -s "$log" ] && { cat "$log"; failures=$((failures + 1)); }
done
echo "$(basename "$cases"): $count cases, $failures failures"
[ "$failures" = 0 ]
