#!/bin/bash
# install.sh BUILD_DIR: what `cmake --install` leaves is complete: the commands run from there, programs in C
# and C++ build against it by pkg-config and by find_package, every header compiles alone.
set -euo pipefail
build=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/prefix
cd "$folder"

cmake --install "$build" --prefix "$prefix" > /dev/null
for tool in ed-bench ed-calibrate ed-eval ed-inspect ed-qat ed-run ed-transform; do
    "$prefix/bin/$tool" --version
    test -s "$prefix/share/man/man1/$tool.1"
done

cat > program.c << 'END'
#include <ed/ed.h>
#include <stdio.h>

int main(void)
{
    ed_graph *graph;
    int rc = ed_graph_parse(&graph, "graph g opset 17\ninput x: f32[1]\ny = Relu(x)\noutput y\n");
    printf("%s %d\n", ed_version(), rc == ED_OK && ed_graph_node_count(graph, "Relu") == 1);
    ed_graph_free(graph);
    return 0;
}
END
sed 's/opset 17/opset 18/' program.c > program.cc

# .pc files name the prefix of the configuration; pkg-config moves it.
pkg_config() { PKG_CONFIG_PATH=$prefix/lib/pkgconfig:$(echo "$prefix"/lib/*/pkgconfig) \
    pkg-config --define-variable=prefix="$prefix" "$@" ed; }
read -ra flags <<< "$(pkg_config --cflags --libs)"
library=$(dirname "$(find "$prefix" -name libed.so)")
cc -std=c11 -Wall -Wextra -Wpedantic -Werror program.c "${flags[@]}" "-Wl,-rpath,$library" -o by_pkg_config
c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror program.cc "${flags[@]}" "-Wl,-rpath,$library" -o in_c++

cat > CMakeLists.txt << 'END'
cmake_minimum_required(VERSION 3.22)
project(user C)
find_package(ed REQUIRED)
add_executable(by_cmake program.c)
target_link_libraries(by_cmake ed::ed)
END
cmake -B user -G Ninja -DCMAKE_PREFIX_PATH="$prefix" > /dev/null
cmake --build user > /dev/null

for program in ./by_pkg_config ./in_c++ user/by_cmake; do
    [[ "$("$program")" =~ ^[0-9.]+\ 1$ ]] || { echo "$program does not run"; exit 1; }
done
for header in "$prefix"/include/ed/*.h; do
    cc -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -x c -fsyntax-only "$header"
    c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -x c++ -fsyntax-only "$header"
done
echo "installed and used from $(cd "$prefix" && find . -type f | wc -l) files"
