# The C library for programs beside the server: liblectern (shared), its header and its pkg-config file. Only what
# client/lectern.h declares is visible; the floors below are linked in.
add_library(lectern_library SHARED client/lectern.c client/lectern_io.c)
lectern_compile(lectern_library)
set_target_properties(lectern_library PROPERTIES OUTPUT_NAME lectern VERSION ${PROJECT_VERSION} SOVERSION 0
  PUBLIC_HEADER client/lectern.h LINK_DEPENDS ${PROJECT_SOURCE_DIR}/client/lectern.map)
target_link_options(lectern_library PRIVATE -Wl,--as-needed
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/client/lectern.map)
target_link_libraries(lectern_library PRIVATE client)
configure_file(client/lectern.pc.in lectern.pc @ONLY)
install(TARGETS lectern_library LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_BINARY_DIR}/lectern.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(LECTERN_TESTS)
  enable_testing()
  configure_file(client/lectern.h ${CMAKE_BINARY_DIR}/installed/lectern.h COPYONLY)
  add_executable(link_lectern tests/link/link_lectern.c)
  target_compile_definitions(link_lectern PRIVATE _GNU_SOURCE)
  target_compile_options(link_lectern PRIVATE -Wall -Wextra -Wno-address)
  target_include_directories(link_lectern PRIVATE ${CMAKE_BINARY_DIR}/installed)
  target_link_libraries(link_lectern PRIVATE lectern_library)
  if(LECTERN_SANITIZE) # the library's sanitizer needs its run-time in the program
    target_compile_options(link_lectern PRIVATE -fsanitize=${LECTERN_SANITIZE})
    target_link_options(link_lectern PRIVATE -fsanitize=${LECTERN_SANITIZE})
  endif()
  add_test(NAME link/lectern COMMAND link_lectern)
endif()
