// Goal: a directory that is not a whole store of this waitd's is refused with what to do, and none
// is ever read wrong. Method: directories of every wrong kind; each file of a store with bytes
// flipped, and cut short; writes that fail.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>
#include <tuple>

#include "rocksdb/db.h"
#include "server/store/data_dir.h"
#include "server/store/logs.h"
#include "tests/unit/server/store_fixture.h"

namespace waitd::server {
namespace {

namespace fs = std::filesystem;

core::Changes Row(int number) {
  return {.descs = Descs({{.name = "name" + std::to_string(number), .generation = 1}}),
          .ids = Ids({{.key = {core::IdUse::kRequest, 1, 0, std::to_string(number)},
                       .answer = core::CloseResult{1}}}),
          .shards = Lives(1)};
}

class StoreDamageTest : public ::testing::Test {
 protected:
  static constexpr int kCommits = 20;

  std::string data() const { return temp_.path() + "/data"; }
  fs::path rocks() const { return fs::path(data()) / "rocksdb"; }
  fs::path marker() const { return fs::path(data()) / "waitd-store"; }

  // Makes a store of some commits. They are in its log, or in a table as well when it was opened
  // since.
  void Make(bool opened_since) {
    auto store = Open(data(), machine_);
    Contents contents = *LoadAll(*store);
    valid_ = {contents};
    for (int i = 0; i < kCommits; ++i) {
      contents.Apply(Row(i));
      Commit(*store, Row(i));
      valid_.push_back(contents);
    }
    store.reset();
    if (opened_since) {
      EXPECT_EQ(*OpenAndLoad(data(), machine_), valid_.back());
    }
  }

  // That it is refused with this code, by words that hold these.
  void ExpectRefused(absl::StatusCode code, const std::vector<std::string>& words) {
    for (const absl::Status& status :
         {OpenAndLoad(data(), machine_).status(), CheckStore(data()).status()}) {
      EXPECT_EQ(status.code(), code) << status;
      const std::string message(status.message());
      for (const std::string& word : words) {
        EXPECT_NE(message.find(word), std::string::npos) << message;
      }
      EXPECT_NE(message.find(data()), std::string::npos) << message;
      EXPECT_NE(message.find("; "), std::string::npos) << "nothing to do in: " << message;
    }
  }

  // How many of the commits a damaged store shows; nothing: it was refused.
  std::optional<size_t> Survived(SyncMode sync = SyncMode::kAlways) {
    const auto contents = OpenAndLoad(data(), machine_, sync);
    if (!contents.ok()) {
      EXPECT_NE(contents.status().message().find("; "), absl::string_view::npos)
          << contents.status();
      return std::nullopt;
    }
    for (size_t i = 0; i < valid_.size(); ++i) {
      if (*contents == valid_[i]) return i;
    }
    ADD_FAILURE() << "it shows what never was";
    return std::nullopt;
  }

  TempDir temp_;
  Machine machine_;
  std::vector<Contents> valid_;  // after each commit
};

TEST_F(StoreDamageTest, RefusesAFile) {
  WriteFile(data(), "");
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"is a file", "--data-dir"});
}

TEST_F(StoreDamageTest, RefusesAPathThatCannotBe) {
  const std::string below_a_file = temp_.path() + "/file";
  WriteFile(below_a_file, "");
  EXPECT_FALSE(OpenRocksStore({.data_dir = below_a_file + "/data"}).ok());
  EXPECT_FALSE(OpenRocksStore({.data_dir = temp_.path() + "/no/data"}).ok());
  EXPECT_FALSE(OpenRocksStore({.data_dir = "/proc/waitd"}).ok());
}

TEST_F(StoreDamageTest, RefusesFilesOfOthersAndLeavesThemAlone) {
  fs::create_directory(data());
  WriteFile(data() + "/letter.txt", "dear");
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"letter.txt", "not waitd's"});
  EXPECT_EQ(ReadFile(data() + "/letter.txt"), "dear");
  EXPECT_EQ(std::distance(fs::directory_iterator(data()), {}), 1);
}

TEST_F(StoreDamageTest, TakesTheRootOfAFileSystem) {
  fs::create_directories(data() + "/lost+found");
  EXPECT_TRUE(OpenAndLoad(data(), machine_).ok());
  EXPECT_TRUE(OpenAndLoad(data(), machine_).ok());
}

void MakeForeignDatabase(const fs::path& path) {
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, path.string(), &db).ok());
  ASSERT_TRUE(db->Put({}, "key", "value").ok());
  delete db;
}

TEST_F(StoreDamageTest, RefusesADatabaseOfSomebodyElse) {
  MakeForeignDatabase(data());
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"not waitd's"});
  fs::remove_all(data());
  Make(false);
  fs::remove_all(rocks());
  MakeForeignDatabase(rocks());
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"somebody else's"});
}

TEST_F(StoreDamageTest, RefusesANewerFormat) {
  Make(false);
  const std::string newer = "format " + std::to_string(kStoreFormat + 1);
  WriteFile(marker(), "waitd store, " + newer + ", ready\n");
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {newer, "newer"});
  WriteFile(marker(), "waitd store, " + newer + "\n");
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {newer, "newer"});
}

TEST_F(StoreDamageTest, RefusesNewerRows) {
  Make(false);
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open({}, rocks().string(), &db).ok());
  const std::string row = "\n\5waitd\x10" + std::string(1, static_cast<char>(kStoreFormat + 1));
  ASSERT_TRUE(db->Put({}, "mformat", row).ok());
  delete db;
  ExpectRefused(absl::StatusCode::kFailedPrecondition,
                {"format " + std::to_string(kStoreFormat + 1), "newer"});
}

TEST_F(StoreDamageTest, RefusesOneThatIsInUse) {
  Make(false);
  const auto store = Open(data(), machine_);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, {"in use"});
}

TEST_F(StoreDamageTest, RefusesOneWithoutItsDatabase) {
  Make(false);
  fs::remove_all(rocks());
  ExpectRefused(absl::StatusCode::kDataLoss, {"damaged", "backup"});
}

TEST_F(StoreDamageTest, MakesAnewWhatWasNotMadeToItsEnd) {
  Make(false);
  const std::string whole = ReadFile(marker());
  WriteFile(marker(), "waitd store, format 2, new\n");
  EXPECT_EQ(CheckStore(data()).status().code(), absl::StatusCode::kNotFound);
  const auto contents = OpenAndLoad(data(), machine_);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(*contents, Contents());
  EXPECT_EQ(ReadFile(marker()), whole);
}

// Rows that RocksDB finds in order, and that are none of ours or contradict each other.
TEST_F(StoreDamageTest, RefusesRowsThatCannotBe) {
  const std::pair<const char*, std::string> kRows[] = {
      {"zother", "x"},
      {"mother", ""},
      {"dname", "\xFF"},
      {"dname", ""},
      {"ix", ""},
      {"mshard/\0", "x"},
      {"mgeneration", ""},
      {"h12345678", ""},
      {"ename", ""},
      {"p1234567", ""},
      {"dname0", std::string("\x08\x05\x10\x01\x18\x01")},  // of an epoch that never began
      {"dname0", std::string("\x08\x01\x10\x09\x18\x01")},  // of a kind that is none
      // of a generation to come
      {"dname0", std::string("\x08\x01\x10\x01\x18\x80\x01")},
      // with a payload that is not there
      {"dname0", std::string("\x08\x01\x10\x01\x18\x01\x52\x04\x1A\x02\x10\x63")},
  };
  for (const auto& [key, value] : kRows) {
    fs::remove_all(data());
    Make(false);
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, rocks().string(), &db).ok());
    ASSERT_TRUE(db->Put({}, key, value).ok());
    delete db;
    EXPECT_EQ(OpenAndLoad(data(), machine_).status().code(), absl::StatusCode::kDataLoss) << key;
    const auto report = CheckStore(data());
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_FALSE(report->faults.empty()) << key;
  }
}

std::vector<fs::path> FilesOf(const std::string& data) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(data)) {
    if (entry.is_regular_file() && entry.file_size() > 0) files.push_back(entry.path());
  }
  return files;
}

// Damages a store in one file at one place, for each file and many places, and hands on what is
// left.
class StoreDamageSweep : public StoreDamageTest {
 protected:
  using Damage = std::function<void(std::string* bytes, size_t at)>;
  using Look = std::function<void(const fs::path& file, size_t at, size_t size)>;

  void Sweep(const Damage& damage, const Look& look) {
    for (const bool opened_since : {false, true}) {
      fs::remove_all(data());
      Make(opened_since);
      const std::string whole = data() + ".whole";
      fs::rename(data(), whole);
      for (const fs::path& file : FilesOf(whole)) {
        const fs::path there = data() / file.lexically_relative(whole);
        const size_t size = fs::file_size(file);
        for (size_t at = 0; at < size; at += 1 + size / 30) {
          SCOPED_TRACE(there.filename().string() + " byte " + std::to_string(at));
          fs::remove_all(data());
          fs::copy(whole, data(), fs::copy_options::recursive);
          std::string bytes = ReadFile(there);
          damage(&bytes, at);
          WriteFile(there, bytes);
          look(there, at, size);
        }
      }
      fs::remove_all(whole);
    }
  }
};

// The last commit alone cannot be told from one that never returned.
TEST_F(StoreDamageSweep, AFlippedByteIsFoundOrHarmless) {
  constexpr size_t kLastCommit = 200;  // bytes of the log, at most
  Sweep([](std::string* bytes, size_t at) { (*bytes)[at] = static_cast<char>(~(*bytes)[at]); },
        [this](const fs::path& file, size_t at, size_t size) {
          const auto survived = Survived();
          const bool last = file.extension() == ".log" && at + kLastCommit > size;
          if (survived.has_value() && !(last && *survived == kCommits - 1)) {
            EXPECT_EQ(*survived, kCommits);
          }
        });
}

// What was there before the first commit was synced in every mode, and is missed.
TEST_F(StoreDamageSweep, WithoutSyncsALogCountsUpToItsDamage) {
  constexpr size_t kBeforeCommits = 200;  // bytes of the log, at most
  Sweep([](std::string* bytes, size_t at) { (*bytes)[at] = static_cast<char>(~(*bytes)[at]); },
        [this](const fs::path& file, size_t at, size_t) {
          const auto survived = Survived(SyncMode::kNever);
          if (file.extension() == ".log") {
            EXPECT_TRUE(survived.has_value() || at < kBeforeCommits);
          } else if (survived.has_value()) {
            EXPECT_EQ(*survived, kCommits);
          }
        });
}

TEST_F(StoreDamageSweep, AFileCutShortIsFoundOrTheLogsEnd) {
  Sweep([](std::string* bytes, size_t at) { bytes->resize(at); },
        [this](const fs::path& file, size_t, size_t) {
          const auto survived = Survived();
          if (survived.has_value() && file.extension() != ".log") {
            EXPECT_EQ(*survived, kCommits);
          }
        });
}

// A commit of many pages, of which a disk wrote some and not others before it lost its power.
TEST_F(StoreDamageTest, ACommitTornInItsMiddleNeverWas) {
  constexpr size_t kPage = 4096;
  Make(false);
  {
    auto store = Open(data(), machine_);
    ASSERT_TRUE(LoadAll(*store).ok());
    core::Changes changes = Row(kCommits);
    changes.descs.front().owner.assign(50 * kPage, 'x');
    Commit(*store, changes);
  }
  const std::string whole = data() + ".whole";
  fs::rename(data(), whole);
  for (const size_t page : {0, 1, 7, 8, 30, 49}) {
    fs::remove_all(data());
    fs::copy(whole, data(), fs::copy_options::recursive);
    for (const fs::path& file : FilesOf(data())) {
      if (file.extension() != ".log") continue;
      std::string bytes = ReadFile(file);
      ASSERT_GT(bytes.size(), 50 * kPage);
      std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(page * kPage), kPage, '\0');
      WriteFile(file, bytes);
    }
    EXPECT_EQ(Survived(), kCommits) << page;
    // And it is over then: what comes next is on a log that is whole.
    const auto report = CheckStore(data());
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(report->faults.empty());
  }
}

// Leaves the log of a store that was opened since its last commit with a commit that is torn, at
// its beginning or behind one that is whole.
class StoreTornTest : public StoreDamageTest,
                      public ::testing::WithParamInterface<std::tuple<SyncMode, bool>> {
 protected:
  SyncMode sync() const { return std::get<0>(GetParam()); }

  void MakeTorn() {
    Make(true);
    size_t whole = 0;
    {
      auto store = Open(data(), machine_, sync());
      Contents contents = *LoadAll(*store);
      if (std::get<1>(GetParam())) {
        CommitNext(*store, &contents);
        whole = fs::file_size(Log());
      }
      CommitNext(*store, &contents);
    }
    fs::resize_file(Log(), (whole + fs::file_size(Log())) / 2);
    valid_.pop_back();
  }

  void CommitNext(Store& store, Contents* contents) {
    const core::Changes next = Row(static_cast<int>(valid_.size()));
    Commit(store, next);
    contents->Apply(next);
    valid_.push_back(*contents);
  }

  // The only one with something in it.
  fs::path Log() const {
    fs::path log;
    for (const fs::path& file : FilesOf(data())) {
      if (file.extension() != ".log") continue;
      EXPECT_TRUE(log.empty()) << log << " and " << file;
      log = file;
    }
    return log;
  }

  void ExpectWhole() {
    EXPECT_EQ(*OpenAndLoad(data(), machine_, sync()), valid_.back());
    const auto report = CheckStore(data());
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->faults, std::vector<std::string>());
  }
};

TEST_P(StoreTornTest, WhatIsCommittedAfterItIsThereAtTheNextStart) {
  MakeTorn();
  {
    auto store = Open(data(), machine_, sync());
    Contents contents = *LoadAll(*store);
    EXPECT_EQ(contents, valid_.back());
    CommitNext(*store, &contents);
  }
  ExpectWhole();
}

// The power went again before it was durable that the torn log is gone.
TEST_P(StoreTornTest, IsNoDamageWhenTheNextStartIsCutShort) {
  MakeTorn();
  const fs::path torn = Log();
  const std::string bytes = ReadFile(torn);
  ASSERT_TRUE(OpenAndLoad(data(), machine_, sync()).ok());
  WriteFile(torn, bytes);
  ExpectWhole();
}

TEST_F(StoreDamageTest, TheNewestLogStaysAlsoWhenTheirNumbersGetLonger) {
  for (const char* name : {"999998.log", "999999.log", "1000000.log", "999999.sst"}) {
    WriteFile(temp_.path() + "/" + name, "x");
  }
  ASSERT_TRUE(RemoveReadLogs(temp_.path()).ok());
  EXPECT_EQ(FilesOf(temp_.path()).size(), 2);
  EXPECT_TRUE(fs::exists(temp_.path() + "/1000000.log"));
  EXPECT_TRUE(fs::exists(temp_.path() + "/999999.sst"));
}

INSTANTIATE_TEST_SUITE_P(Everywhere, StoreTornTest,
                         ::testing::Combine(::testing::Values(SyncMode::kAlways, SyncMode::kNever),
                                            ::testing::Bool()));

TEST_F(StoreDamageTest, CheckStoreTellsAWholeOneFromADamagedOne) {
  Make(true);
  auto report = CheckStore(data());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->descs, kCommits);
  EXPECT_EQ(report->ids, kCommits);
  EXPECT_TRUE(report->faults.empty());
  for (const fs::path& file : FilesOf(data())) {
    if (file.extension() != ".sst") continue;
    std::string bytes = ReadFile(file);
    bytes[10] = static_cast<char>(~bytes[10]);
    WriteFile(file, bytes);
  }
  report = CheckStore(data());
  EXPECT_TRUE(!report.ok() || !report->faults.empty());
}

// Goal: what is copied while commits go on is the store as it was after one of them. Method: copies
// are made until a thousand commits are through.
TEST_F(StoreDamageTest, ABackupUnderWayTearsNoCommit) {
  Make(false);
  auto store = Open(data(), machine_);
  ASSERT_TRUE(LoadAll(*store).ok());
  std::atomic<bool> done = false;
  std::thread committer([&] {
    for (int i = kCommits; i < 1000; ++i) Commit(*store, Row(i));
    done = true;
  });
  int copies = 0;
  do {
    const auto made = store->Backup(temp_.path() + "/" + std::to_string(copies++));
    EXPECT_TRUE(made.ok()) << made;
  } while (!done);
  committer.join();
  size_t before = 0;
  for (int i = 0; i < copies; ++i) {
    const auto contents = OpenAndLoad(temp_.path() + "/" + std::to_string(i), machine_);
    ASSERT_TRUE(contents.ok()) << contents.status();
    const size_t commits = contents->descs.size();
    EXPECT_EQ(contents->ids.size(), commits);
    EXPECT_GE(commits, before);
    if (commits > 0) {
      EXPECT_TRUE(contents->descs.contains("name" + std::to_string(commits - 1)));
    }
    before = commits;
  }
}

// Files may grow no further for the time of its life.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &former_);
    const rlimit limit{bytes, former_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &former_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit former_{};
};

TEST_F(StoreDamageTest, AfterAFailedCommitEveryOneFailsUntilItIsOpenedAnew) {
  for (const SyncMode sync : {SyncMode::kAlways, SyncMode::kInterval, SyncMode::kNever}) {
    fs::remove_all(data());
    Make(false);
    auto store = Open(data(), machine_, sync);
    ASSERT_TRUE(LoadAll(*store).ok());
    core::Changes big = Row(kCommits);
    big.descs.front().owner.assign(100 << 10, 'x');
    size_t bytes = 0;
    absl::Status failed;
    {
      const FileSizeLimit limit(32 << 10);
      failed = store->Commit(big, &bytes);
    }
    EXPECT_FALSE(failed.ok());
    EXPECT_NE(failed.message().find(data()), absl::string_view::npos) << failed;
    EXPECT_EQ(store->Commit(Row(kCommits + 1), &bytes), failed);
    EXPECT_EQ(store->Commit({}, &bytes), failed);
    store.reset();
    EXPECT_EQ(Survived(sync), kCommits);
  }
}

}  // namespace
}  // namespace waitd::server
