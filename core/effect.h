#ifndef WAITD_CORE_EFFECT_H_
#define WAITD_CORE_EFFECT_H_

#include <cstdint>

#include "core/types.h"

namespace waitd::core {

class Account;
/// What is to be done once after several effects, whichever of them ask for it: such as one
/// message with the answers of all.
class Sequel {
 public:
  virtual ~Sequel() = default;
  virtual void Run() = 0;

 private:
  friend class EffectBatch;
  Sequel* next_ = nullptr;
};

/// Effects that one thread lets go one after the other, as one batch: it ends with what they have
/// noted, in that order. Whoever carries out much at once makes one and passes it on; without one
/// each step of the core is a batch.
///
/// Threads: one. Sequels run with no lock of the core held.
class EffectBatch {
 public:
  EffectBatch() = default;
  ~EffectBatch() { End(); }
  EffectBatch(const EffectBatch&) = delete;
  EffectBatch& operator=(const EffectBatch&) = delete;

  /// The sequel is noted in no batch, and stays until it has begun to run.
  void Note(Sequel& sequel) {
    sequel.next_ = nullptr;
    (first_ == nullptr ? first_ : last_->next_) = &sequel;
    last_ = &sequel;
  }

  /// Runs what was noted; then another batch may begin.
  void End() {
    while (first_ != nullptr) {
      Sequel& each = *first_;
      first_ = each.next_;  // before it runs: then it may be noted elsewhere, or go
      each.Run();
    }
  }

 private:
  Sequel* first_ = nullptr;
  Sequel* last_ = nullptr;
};

/// Something that others may see once the journal allows it: the answer of an operation, or the
/// end of a wait.
///
/// Threads:  Done runs once, on whichever thread let the effect go, with no lock of the core held.
/// Lifetime: owned by the caller; the core keeps a pointer from the operation until Done begins,
///           and none afterwards, so that Done may delete the object.
class Effect {
 public:
  virtual ~Effect() = default;
  virtual void Done() = 0;

  /// Done, as one of a batch.
  virtual void DoneIn(EffectBatch& /*batch*/) { Done(); }

  /// Instead of what it was to tell, because that could not be saved; Done follows.
  virtual void Fail(Reason reason) = 0;

  /// Who is charged for what the operation makes the core hold; null: nobody in particular.
  virtual Account* account() const { return nullptr; }

 private:
  friend class EffectList;
  Effect* next_ = nullptr;
  uint64_t number_ = 0;  // of the change that must be saved first
};

/// Effects in the order in which they may leave. Threads: none of its own.
class EffectList {
 public:
  bool empty() const { return first_ == nullptr; }

  void Push(Effect& effect, uint64_t number) {
    effect.number_ = number;
    effect.next_ = nullptr;
    if (first_ == nullptr) {
      first_ = &effect;
    } else {
      last_->next_ = &effect;
    }
    last_ = &effect;
  }

  /// Takes the first one, if its number is not above `committed`; else null.
  Effect* Pop(uint64_t committed) {
    Effect* const effect = first_;
    if (effect == nullptr || effect->number_ > committed) return nullptr;
    first_ = effect->next_;
    return effect;
  }

  /// All of them are done, in `batch` if there is one.
  void LetGo(EffectBatch* batch) {
    EffectBatch own;
    while (Effect* const effect = Pop(UINT64_MAX)) effect->DoneIn(batch != nullptr ? *batch : own);
  }

 private:
  Effect* first_ = nullptr;
  Effect* last_ = nullptr;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_EFFECT_H_
