# ed_module(name MODULES <modules it may include> LIBS <libraries>): src/<name>/*.c as an object library.
# Its include path holds one link per allowed module, so "ops/op.h" is found only where the row allows it.
function(ed_module name)
    cmake_parse_arguments(arg "" "" "MODULES;LIBS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${name}/*.c")
    set(root "${CMAKE_BINARY_DIR}/modules/${name}")
    file(MAKE_DIRECTORY "${root}")
    file(CREATE_LINK "${CMAKE_SOURCE_DIR}/src/${name}" "${root}/${name}" SYMBOLIC)
    if(NOT sources)
        set(sources "${CMAKE_SOURCE_DIR}/src/cmake/empty.c")
    endif()
    add_library(ed_${name} OBJECT ${sources})
    target_include_directories(ed_${name} PUBLIC
        $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<BUILD_INTERFACE:${root}>)
    foreach(other IN LISTS arg_MODULES)
        target_include_directories(ed_${name} PRIVATE "${CMAKE_BINARY_DIR}/modules/${other}")
    endforeach()
    target_link_libraries(ed_${name} PRIVATE ${arg_LIBS})
    set_property(GLOBAL APPEND PROPERTY ED_MODULES ${name})
    set_property(GLOBAL PROPERTY ED_MODULES_OF_${name} "${arg_MODULES}")
    set_property(GLOBAL PROPERTY ED_LIBS_OF_${name} "${arg_LIBS}")
endfunction()

# ed_protobuf_c(module file.proto): generate C for a .proto at build time and compile it into the module.
function(ed_protobuf_c name proto)
    get_filename_component(base "${proto}" NAME_WE)
    get_filename_component(dir "${proto}" DIRECTORY)
    set(out "${CMAKE_BINARY_DIR}/generated")
    file(MAKE_DIRECTORY "${out}")
    add_custom_command(OUTPUT "${out}/${base}.pb-c.c" "${out}/${base}.pb-c.h"
        COMMAND "${PROTOC_C}" --c_out=${out} --proto_path=${dir} "${proto}" DEPENDS "${proto}" VERBATIM)
    set_source_files_properties("${out}/${base}.pb-c.c" PROPERTIES COMPILE_OPTIONS -w)
    target_sources(ed_${name} PRIVATE "${out}/${base}.pb-c.c" "${out}/${base}.pb-c.h")
    target_include_directories(ed_${name} SYSTEM PRIVATE "${out}")
endfunction()

# All modules that the given ones need, themselves included.
function(ed_module_closure out)
    set(todo ${ARGN})
    set(done "")
    while(todo)
        list(POP_FRONT todo name)
        if(NOT name IN_LIST done)
            list(APPEND done ${name})
            get_property(deps GLOBAL PROPERTY ED_MODULES_OF_${name})
            list(APPEND todo ${deps})
        endif()
    endwhile()
    set(${out} "${done}" PARENT_SCOPE)
endfunction()

# ed_use_modules(target modules...): let a test see these modules' private headers and link their objects.
function(ed_use_modules target)
    ed_module_closure(modules ${ARGN})
    foreach(name IN LISTS modules)
        get_property(libs GLOBAL PROPERTY ED_LIBS_OF_${name})
        target_sources(${target} PRIVATE $<TARGET_OBJECTS:ed_${name}>)
        target_include_directories(${target} PRIVATE "${CMAKE_BINARY_DIR}/modules/${name}"
                                   "${CMAKE_SOURCE_DIR}/include")
        target_link_libraries(${target} PRIVATE ${libs})
    endforeach()
endfunction()

# ed_library(name): the shared library of all modules, with its install rules.
function(ed_library target)
    get_property(modules GLOBAL PROPERTY ED_MODULES)
    add_library(${target} SHARED)
    set_target_properties(${target} PROPERTIES VERSION ${PROJECT_VERSION}
        SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE C)
    foreach(name IN LISTS modules)
        get_property(libs GLOBAL PROPERTY ED_LIBS_OF_${name})
        target_sources(${target} PRIVATE $<TARGET_OBJECTS:ed_${name}>)
        target_link_libraries(${target} PRIVATE ${libs})
    endforeach()
    target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
                               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_options(${target} PRIVATE -Wl,--no-undefined)
    install(TARGETS ${target} EXPORT edTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/ed" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT edTargets NAMESPACE ed:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ed)
    include(CMakePackageConfigHelpers)
    configure_package_config_file("${CMAKE_SOURCE_DIR}/src/cmake/edConfig.cmake.in"
        "${CMAKE_BINARY_DIR}/edConfig.cmake" INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ed)
    write_basic_package_version_file("${CMAKE_BINARY_DIR}/edConfigVersion.cmake"
        COMPATIBILITY SameMajorVersion)
    configure_file("${CMAKE_SOURCE_DIR}/src/cmake/ed.pc.in" "${CMAKE_BINARY_DIR}/ed.pc" @ONLY)
    install(FILES "${CMAKE_BINARY_DIR}/edConfig.cmake" "${CMAKE_BINARY_DIR}/edConfigVersion.cmake"
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ed)
    install(FILES "${CMAKE_BINARY_DIR}/ed.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
