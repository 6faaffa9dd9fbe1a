# The rules and the dashboard; a disk that fails is made by the shim of crash.
add_test(NAME deploy_prometheus
  COMMAND ${Python3_EXECUTABLE} -B -m pytest -q -p no:cacheprovider
    ${CMAKE_CURRENT_LIST_DIR}/test_prometheus.py)
set_tests_properties(deploy_prometheus PROPERTIES
  ENVIRONMENT "WAITD_BIN_DIR=$<TARGET_FILE_DIR:waitd>;${WAITD_PYTEST_ENVIRONMENT}"
  LABELS integration
  TIMEOUT 300
  RUN_SERIAL ON)
