# Tests that drive a real `lectern serve` (this build's, with its sanitizers) with real clients. Heavy ones run alone, so that
# two cores are enough for their time-outs.
set(system_python /usr/bin/python3)
if(NOT EXISTS ${system_python})
  set(system_python ${Python3_EXECUTABLE})
endif()

function(lectern_system name file timeout)
  add_test(NAME system/${name} COMMAND ${system_python} ${CMAKE_CURRENT_SOURCE_DIR}/system/${file} ${ARGN})
  set_tests_properties(system/${name} PROPERTIES TIMEOUT ${timeout} RUN_SERIAL ON
    ENVIRONMENT "LECTERN_BIN=$<TARGET_FILE:lectern>;LECTERN_RELEASE_BIN=${PROJECT_SOURCE_DIR}/build/release/lectern;LECTERN_ARTEFACTS=${PROJECT_SOURCE_DIR}/build/artefacts")
endfunction()

foreach(client awscli boto3 rclone s3cmd restic curl sdkjs lectern)
  lectern_system(client_${client} clients.py 600 client_${client})
endforeach()
lectern_system(s3_semantics s3_semantics.py 300)
lectern_system(media media.py 300)
lectern_system(browser browser.py 300)
lectern_system(drives drives.py 300)
lectern_system(crash crash.py 600)
lectern_system(slow_readers slow_readers.py 300)
lectern_system(stop stop.py 120)
lectern_system(up up.py 600)
