# The chart, with the real helm and the real waitd.
add_test(NAME deploy_helm
  COMMAND ${Python3_EXECUTABLE} -m pytest -q -p no:cacheprovider
    ${CMAKE_CURRENT_LIST_DIR}/test_helm.py ${CMAKE_CURRENT_LIST_DIR}/test_helm_access.py
    ${CMAKE_CURRENT_LIST_DIR}/test_helm_edge.py)
set_tests_properties(deploy_helm PROPERTIES
  ENVIRONMENT "WAITD_BIN_DIR=$<TARGET_FILE_DIR:waitd>;PYTHONDONTWRITEBYTECODE=1"
  TIMEOUT 300)
