# The tests that need the durable store.
add_test(NAME crash COMMAND ${WAITD_CRASH_PYTEST} ${CMAKE_CURRENT_SOURCE_DIR}/test_crash.py)
add_test(NAME crash_faults COMMAND ${WAITD_CRASH_PYTEST} ${CMAKE_CURRENT_SOURCE_DIR}/test_faults.py)
set_tests_properties(crash crash_faults PROPERTIES
  ENVIRONMENT "${WAITD_CRASH_ENVIRONMENT}" LABELS integration TIMEOUT 600)
