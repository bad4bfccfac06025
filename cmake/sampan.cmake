# Compiler settings shared by every target, and the functions that declare targets:
# one library a folder (sampan_library), one test program a folder (sampan_test), one fuzz target a file (sampan_fuzz).

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
option(SAMPAN_WERROR "Treat warnings as errors" OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

# What a full build costs is mostly the same headers and templates again and again: a few sources of a folder compiled as
# one take a third of the time. Names in unnamed namespaces are therefore unique in a folder (CONTRIBUTING.md).
option(SAMPAN_UNITY "Compile several sources of a folder as one; OFF rebuilds single files sooner" ON)
set(CMAKE_UNITY_BUILD ${SAMPAN_UNITY})
set(CMAKE_UNITY_BUILD_BATCH_SIZE 16)

# Lines for backtraces; local variables cost a fifth of a build (-DCMAKE_CXX_FLAGS=-g brings them).
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
if(SAMPAN_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG")
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_package(Threads REQUIRED)
if(SAMPAN_ONLY_KERNELS AND CMAKE_CROSSCOMPILING)
  include(kernels_only)
else()
  find_package(fmt REQUIRED)
  if(SAMPAN_TESTS)
    find_package(GTest REQUIRED)
  endif()
endif()
if(NOT SAMPAN_ONLY_KERNELS)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
  pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
  pkg_check_modules(SIMDJSON REQUIRED IMPORTED_TARGET simdjson)
  find_package(nlohmann_json REQUIRED)
  find_package(CURL REQUIRED)
  find_package(OpenSSL REQUIRED)
endif()

add_library(sampan_options INTERFACE)
# -ffp-contract=off: a fused multiply-add happens where the source says std::fma, nowhere else, so that results
# do not depend on the compiler or the instruction set (docs/adr/0001-bit-exact-numerics.md).
target_compile_options(sampan_options INTERFACE -Wall -Wextra -Wshadow -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of g++ 12 about std::string's own copies (GCC bugs 105329, 105651).
  target_compile_options(sampan_options INTERFACE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
endif()
if(SAMPAN_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Warns about members of unnamed namespaces' types, which a source is free to use for its own classes.
  target_compile_options(sampan_options INTERFACE -Wno-subobject-linkage)
endif()
if(SAMPAN_WERROR)
  target_compile_options(sampan_options INTERFACE -Werror)
endif()
if(SAMPAN_SANITIZE)
  # Without the checks of UBSan that cost most to compile and find least beside AddressSanitizer; UNWATCHED on a target
  # names more.
  target_compile_options(sampan_options INTERFACE -fsanitize=${SAMPAN_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all -fno-sanitize=null,vptr,object-size
                         $<$<BOOL:$<TARGET_PROPERTY:UNWATCHED>>:-fno-sanitize=$<TARGET_PROPERTY:UNWATCHED>>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # clang 14 cannot emit this check's data for coroutines ("a difference across sections").
    target_compile_options(sampan_options INTERFACE -fno-sanitize=function)
  endif()
  target_link_options(sampan_options INTERFACE -fsanitize=${SAMPAN_SANITIZE})
endif()
if(SAMPAN_FUZZ)
  target_compile_options(sampan_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_include_directories(sampan_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(sampan_options INTERFACE Threads::Threads)

# sampan_library(name [DEPS targets…]): static library sampan_<name> of all *.cpp in the current folder
# (and in its subfolders when SUBFOLDERS names them). DEPS are the folders below it and outside libraries.
function(sampan_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;PRIVATE_DEPS;SUBFOLDERS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(folder IN LISTS ARG_SUBFOLDERS)
    file(GLOB more CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp)
    list(APPEND sources ${more})
  endforeach()
  add_library(sampan_${name} STATIC ${sources})
  target_link_libraries(sampan_${name} PUBLIC sampan_options ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# sampan_test(area DEPS targets…): test program test_<area> of all *.cpp in tests/<area>. SAMPAN_TEST_DATA points at
# tests/data, SAMPAN_SOURCE_DIR at the checkout.
function(sampan_test area)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${area}/*.cpp)
  add_executable(test_${area} ${sources})
  target_link_libraries(test_${area} PRIVATE ${ARG_DEPS} GTest::gtest GTest::gtest_main)
  target_include_directories(test_${area} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(test_${area} PRIVATE SAMPAN_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
                             SAMPAN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # The code under test is in libraries: what tests do themselves is watched for races only. (Templates that both use may
  # then be the tests' copies; fuzz targets, whose inputs are the hostile ones, are watched whole.)
  target_compile_options(test_${area} PRIVATE -O1)
  if(SAMPAN_SANITIZE MATCHES address)
    set_target_properties(test_${area} PROPERTIES UNWATCHED all)
  endif()
  add_test(NAME ${area} COMMAND test_${area})
endfunction()

# sampan_fuzz(name DEPS targets…): fuzz/<name>.cpp defines LLVMFuzzerTestOneInput. With SAMPAN_FUZZ it becomes a libFuzzer
# program; otherwise a plain program that replays fuzz/corpus/<name> and is run by ctest.
function(sampan_fuzz name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  if(SAMPAN_FUZZ)
    add_executable(fuzz_${name} ${name}.cpp)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${name}.cpp $<TARGET_OBJECTS:sampan_replay>)
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  endif()
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_DEPS})
endfunction()
