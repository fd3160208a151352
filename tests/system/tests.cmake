# Tests that drive a real `lectern serve` (this build's, with its sanitizers) with real clients. Heavy ones run alone, so that
# two cores are enough for their time-outs.
set(system_python /usr/bin/python3)
if(NOT EXISTS ${system_python})
  set(system_python ${Python3_EXECUTABLE})
endif()

# name, file, time-out in seconds, then the functions to run (none: all). The first of `path` is where clients are looked for.
function(lectern_system name file timeout)
  cmake_parse_arguments(arg "" "PYTHON;PATH" "" ${ARGN})
  if(NOT arg_PYTHON)
    set(arg_PYTHON ${system_python})
  endif()
  set(path "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:$ENV{PATH}") # Debian's own clients before any other
  if(arg_PATH)
    string(PREPEND path "${arg_PATH}:")
  endif()
  add_test(NAME system/${name} COMMAND ${arg_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/system/${file} ${arg_UNPARSED_ARGUMENTS})
  set_tests_properties(system/${name} PROPERTIES TIMEOUT ${timeout} RUN_SERIAL ON
    ENVIRONMENT "PATH=${path};LECTERN_BIN=$<TARGET_FILE:lectern>;LECTERN_RELEASE_BIN=${PROJECT_SOURCE_DIR}/build/release/lectern;LECTERN_ARTEFACTS=${PROJECT_SOURCE_DIR}/build/artefacts")
endfunction()

foreach(client awscli boto3 rclone s3cmd restic curl lectern)
  lectern_system(client_${client} clients.py 600 client_${client})
endforeach()
# The same in their newest versions (scripts/test puts them there): checksums by default, in trailers.
set(venv ${PROJECT_SOURCE_DIR}/build/venv/bin)
lectern_system(client_awscli_newest clients.py 600 client_awscli PATH ${venv})
lectern_system(client_boto3_newest clients.py 600 client_boto3 PYTHON ${venv}/python)
lectern_system(client_sdkjs clients.py 600 client_sdkjs PATH ${PROJECT_SOURCE_DIR}/build/node/node_modules/node/bin)
lectern_system(cli cli.py 600)
lectern_system(s3_semantics s3_semantics.py 300)
lectern_system(s3_compat s3_compat.py 300)
lectern_system(s3_auth_probe s3_auth_probe.py 300)
lectern_system(openapi openapi_check.py 300)
lectern_system(media media.py 300)
lectern_system(browser browser.py 300)
lectern_system(drives drives.py 300)
lectern_system(crash crash.py 600)
lectern_system(slow_readers slow_readers.py 300)
lectern_system(stop stop.py 240)
lectern_system(up up.py 600)
