# A real nginx with the shipped configuration, before a real waitd, also within what its unit allows.
add_test(NAME deploy_edge
  COMMAND ${Python3_EXECUTABLE} -B -m pytest -q -p no:cacheprovider
    ${CMAKE_CURRENT_LIST_DIR}/test_edge.py ${CMAKE_CURRENT_LIST_DIR}/test_systemd_edge.py)
set_tests_properties(deploy_edge PROPERTIES
  ENVIRONMENT "WAITD_BIN_DIR=$<TARGET_FILE_DIR:waitd>;${WAITD_PYTEST_ENVIRONMENT}"
  LABELS integration
  TIMEOUT 300
  RUN_SERIAL ON)
