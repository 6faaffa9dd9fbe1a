// What is to be done once after several effects.
#include "core/effect.h"

#include <gtest/gtest.h>

#include <vector>

namespace waitd::core {
namespace {

class Once final : public Sequel {
 public:
  Once(std::vector<int>& log, int number) : log_(log), number_(number) {}
  void Run() override {
    log_.push_back(number_);
    if (next != nullptr) next->Note(*this);
  }
  EffectBatch* next = nullptr;  // where it is noted again as it runs

 private:
  std::vector<int>& log_;
  const int number_;
};

class Told final : public Effect {
 public:
  Told(std::vector<int>& log, int number, Sequel* sequel)
      : log_(log), number_(number), sequel_(sequel) {}
  void Done() override { log_.push_back(number_); }
  void DoneIn(EffectBatch& batch) override {
    Done();
    if (sequel_ != nullptr) batch.Note(*sequel_);
  }
  void Fail(Reason /*reason*/) override {}

 private:
  std::vector<int>& log_;
  const int number_;
  Sequel* const sequel_;
};

using Log = std::vector<int>;

TEST(EffectBatchTest, SequelsRunAfterTheLastEffectInTheirOrder) {
  Log log;
  Once a(log, 10);
  Once b(log, 20);
  Told first(log, 1, &a);
  Told second(log, 2, &b);
  Told third(log, 3, nullptr);
  EffectList effects;
  for (Told* each : {&first, &second, &third}) effects.Push(*each, 0);
  effects.LetGo(nullptr);
  EXPECT_EQ(log, Log({1, 2, 3, 10, 20}));
  EXPECT_TRUE(effects.empty());
}

TEST(EffectBatchTest, OneBatchOfSeveralListsEndsAfterAllOfThem) {
  Log log;
  Once a(log, 10);
  Told first(log, 1, &a);
  Told second(log, 2, nullptr);
  {
    EffectBatch batch;
    for (Told* each : {&first, &second}) {
      EffectList effects;
      effects.Push(*each, 0);
      effects.LetGo(&batch);
    }
    EXPECT_EQ(log, Log({1, 2}));
  }
  EXPECT_EQ(log, Log({1, 2, 10}));
}

TEST(EffectBatchTest, ASequelThatRunsMayBeNotedElsewhere) {
  Log log;
  Once a(log, 10);
  Once b(log, 20);
  EffectBatch other;
  a.next = &other;
  {
    EffectBatch batch;
    batch.Note(a);
    batch.Note(b);
  }
  EXPECT_EQ(log, Log({10, 20}));
  a.next = nullptr;
  other.End();
  EXPECT_EQ(log, Log({10, 20, 10}));
}

}  // namespace
}  // namespace waitd::core
