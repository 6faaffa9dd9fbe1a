#ifndef WAITD_SERVER_STORE_FORMAT1_H_
#define WAITD_SERVER_STORE_FORMAT1_H_

#include "rocksdb/comparator.h"
#include "rocksdb/db.h"
#include "rocksdb/utilities/write_batch_with_index.h"

namespace waitd::server {

/// For ConvertFormat1 to fill. One row is changed once in it.
inline rocksdb::WriteBatchWithIndex EmptyChanges() {
  return rocksdb::WriteBatchWithIndex(rocksdb::BytewiseComparator(), 0, /*overwrite_key=*/true);
}

/// Adds what makes a store of format 1 one of format 2, down to the row that says which it is.
/// Written as one batch, it is done or it is not: a start that breaks off leaves format 1.
///
/// | format 1                                    | format 2                                    |
/// |---------------------------------------------|---------------------------------------------|
/// | a hand-off, among the ids                   | a delivery, or nothing: its name is closed  |
/// | a signal that came back, in its name's row  | a delivery, one with its stale hand-off     |
/// | the next generation, a shard's horizon      | the row of each shard                       |
/// | an id that MAX_WAIT ended                   | nothing: that is no outcome any more        |
///
/// Its rows do not come in by their times: these are copied as they are. An error of Corruption
/// names the row that cannot be read.
rocksdb::Status ConvertFormat1(rocksdb::DB& db, rocksdb::WriteBatchWithIndex* changes);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_FORMAT1_H_
